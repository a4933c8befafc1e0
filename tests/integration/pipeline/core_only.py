"""Runs `penstock` as an install without extras does: only what the core brings can be imported.

Usage: python core_only.py COMMAND ..., each command one argument. The exit code is the last one's.
The variable CORE_ONLY_WITHOUT takes more modules away.
"""

import importlib.metadata
import os
import sys
import tomllib
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYPROJECT = Path(__file__).resolve().parents[3] / "pyproject.toml"


def core_distributions() -> set[str]:
    """Return the names of the packages that pyproject.toml's own dependencies bring."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    open_ones = [Requirement(text) for text in project["dependencies"]]
    found: set[tuple[str, str]] = set()
    while open_ones:
        requirement = open_ones.pop()
        name = canonicalize_name(requirement.name)
        for wanted in {"", *requirement.extras}:
            if (name, wanted) in found:
                continue
            found.add((name, wanted))
            for text in importlib.metadata.requires(name) or ():
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": wanted}):
                    open_ones.append(needed)
    return {name for name, _ in found}


def blocked_modules() -> set[str]:
    """Return the top-level modules that only extras bring."""
    core = core_distributions() | {"penstock"}
    return {
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if not core & {canonicalize_name(owner) for owner in owners}
    } | set(os.environ.get("CORE_ONLY_WITHOUT", "").split())


class NotInstalled:
    """A finder that finds nothing of the blocked modules, and says so as Python does."""

    def __init__(self, modules: set[str]) -> None:
        self.modules = modules

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.split(".", maxsplit=1)[0] in self.modules:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def hide_extras() -> None:
    """Make this process one of a core install."""
    core = core_distributions()
    known = importlib.metadata.distribution

    def distribution(name: str) -> importlib.metadata.Distribution:
        if canonicalize_name(name) not in core | {"penstock"}:
            raise importlib.metadata.PackageNotFoundError(name)
        return known(name)

    sys.meta_path.insert(0, NotInstalled(blocked_modules()))
    importlib.metadata.distribution = distribution  # type: ignore[assignment]  # another name


if __name__ == "__main__":
    hide_extras()
    from penstock.interfaces.cli import main

    code: object = 0
    for command in sys.argv[1:]:
        sys.argv[1:] = command.split()
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    sys.exit(0 if code is None else int(str(code)))
