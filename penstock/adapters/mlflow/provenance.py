"""Which code ran: the git commit, and what differs from it.

Only source and configuration files are recorded, never the environment.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

#: The kinds of files whose changes are recorded. Others (data, keys, notebooks with outputs) are
#: not. Without ":(top)" a pattern would match only below the folder in which git runs.
_RECORDED = tuple(f":(top)*.{kind}" for kind in ("py", "yaml", "toml", "lock", "sql"))
_LONGEST_DIFF = 500_000


@dataclass(frozen=True)
class CodeState:
    """The state of a git checkout. Both fields are "" outside of one."""

    commit: str
    """The commit's hash."""
    diff: str
    """The uncommitted difference to it; "" where there is none."""


def code_state(folder: Path) -> CodeState:
    """Return the state of the git checkout that has `folder` in it."""
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
