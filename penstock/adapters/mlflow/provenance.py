"""Which code ran: the git commit, and what differs from it. Only source and configuration files,
never the environment.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

#: Kinds of files whose changes are recorded. Anything else (data, keys, notebooks with outputs)
#: stays where it is. ":(top)" because a plain pattern would only match below the folder that git is
#: asked from.
_RECORDED = tuple(f":(top)*.{kind}" for kind in ("py", "yaml", "toml", "lock", "sql"))
_LONGEST_DIFF = 500_000


@dataclass(frozen=True)
class CodeState:
    """A commit and the uncommitted difference to it ("" where there is none). Both "" outside a git
    checkout.
    """

    commit: str
    diff: str


def code_state(folder: Path) -> CodeState:
    """Return the state of the git checkout that `folder` lies in."""
    commit = _git(folder, "rev-parse", "HEAD").strip()
    if not commit:
        return CodeState("", "")
    return CodeState(commit, _git(folder, "diff", "HEAD", "--", *_RECORDED)[:_LONGEST_DIFF])


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
