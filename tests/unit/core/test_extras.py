"""What is imported as an extra's is an extra's in pyproject.toml, and the rest is the core's."""

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from penstock.core.errors import MissingExtraError
from penstock.core.extras import extra

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: MLflow runs this file with its full install; Penstock itself does not import it.
SERVED_BY_MLFLOW = {"penstock/adapters/mlflow/model.py"}
OURS = {"penstock", "flows", "tasks", "strategies"}
#: Comes with other libraries of the extra, and is not asked for by name.
BROUGHT_ALONG = {"pandas": "research"}
#: Used where it is installed; without it the same work is done more slowly.
OPTIONAL = {("penstock/indicators/compiled.py", "numba")}


def _names(requirements: list[str]) -> set[str]:
    found: set[str] = set()
    for text in requirements:
        requirement = Requirement(text)
        if requirement.name == "penstock":
            for name in requirement.extras:
                found |= _names(PROJECT["optional-dependencies"][name])
        else:
            found.add(canonicalize_name(requirement.name))
    return found


class _Imports(ast.NodeVisitor):
    """Third-party modules of a file, each with the extra in whose block it stands ("" for none)."""

    def __init__(self) -> None:
        self.found: set[tuple[str, str]] = set()
        self._extra = ""

    def visit_With(self, node: ast.With) -> None:
        call = node.items[0].context_expr
        outer = self._extra
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id == "extra"
        ):
            argument = call.args[0]
            if isinstance(argument, ast.Constant):
                self._extra = str(argument.value)
        self.generic_visit(node)
        self._extra = outer

    def visit_If(self, node: ast.If) -> None:
        if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.found |= {(alias.name.split(".")[0], self._extra) for alias in node.names}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module and not node.level:
            self.found.add((node.module.split(".")[0], self._extra))


def test_every_import_is_the_cores_or_stands_under_its_extra() -> None:
    """No file of the library imports what neither the core nor the extra named there brings."""
    owners = packages_distributions()
    wrong = []
    for path in sorted((ROOT / "penstock").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name in SERVED_BY_MLFLOW:
            continue
        imports = _Imports()
        imports.visit(ast.parse(path.read_text(encoding="utf-8")))
        for module, under in imports.found:
            if module in OURS or module in sys.stdlib_module_names or (name, module) in OPTIONAL:
                continue
            brought = _names(PROJECT["dependencies"])
            if under:
                brought |= _names(PROJECT["optional-dependencies"][under])
            by = {canonicalize_name(owner) for owner in owners.get(module, ())}
            if not by & brought and BROUGHT_ALONG.get(module) != (under or None):
                wrong.append(f"{name}: {module} {under}")
    assert not wrong, "\n".join(wrong)


def test_no_extra_of_an_image_brings_vectorbt() -> None:
    """vectorbt (Commons Clause) comes with the extra research alone."""
    bringing = {
        name
        for name, requirements in PROJECT["optional-dependencies"].items()
        if "vectorbt" in _names(requirements)
    }
    assert bringing == {"research", "all", "dev"}


def test_missing_library_is_named_with_its_command() -> None:
    """The message has the library and the command that installs its extra."""
    with (
        pytest.raises(
            MissingExtraError,
            match=r"^not_there is not installed: run pip install 'penstock\[checks\]'$",
        ),
        extra("checks"),
    ):
        import not_there  # type: ignore[import-not-found,import-untyped]  # noqa: F401


def test_missing_module_of_our_own_is_no_missing_extra() -> None:
    """A broken install of Penstock itself is not blamed on an extra."""
    with pytest.raises(ModuleNotFoundError), extra("checks"):
        import penstock.not_there  # type: ignore[import-not-found,import-untyped]  # noqa: F401
