"""Interfaces, flows, tasks and the demo call use cases of the pipeline. A use case takes an Actor
and returns values.
"""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import LogCapture

from penstock.core.actors import Actor, Channel
from penstock.core.errors import ConfigError, PenstockError, VenueUnavailableError
from penstock.pipeline.doctor import HealthCheck, Subject, _look, _without_repetition, examine
from penstock.pipeline.use_case import use_case
from penstock.settings import Process, Settings

ROOT = Path(__file__).resolve().parents[3]
PIPELINE = ROOT / "penstock" / "pipeline"
CALLERS = ("penstock/interfaces", "flows", "tasks", "penstock/demo")
#: The demo compares live with the backtest by the same function that the report does.
BUILDING_BLOCKS = {"compare_with_backtest"}
FORBIDDEN = {"rich", "typer", "getpass"}


def imported(folder: str) -> Iterator[tuple[str, str]]:
    """The module and name of everything that the files of a folder import of the pipeline."""
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                "penstock.pipeline"
            ):
                yield from ((str(node.module), alias.name) for alias in node.names)


@pytest.mark.parametrize("folder", CALLERS)
def test_every_function_that_is_called_from_above_is_a_use_case(folder: str) -> None:
    """It takes the platform (or the settings) and the actor first."""
    called = {(module, name) for module, name in imported(folder)}
    assert called
    for module, name in called:
        found = getattr(importlib.import_module(module), name, None)
        if not inspect.isfunction(found) or name in BUILDING_BLOCKS:
            continue
        assert hasattr(found, "__wrapped__"), f"{module}.{name} is no use case"
        assert list(inspect.signature(found).parameters)[1] == "actor", f"{module}.{name}"


@pytest.mark.parametrize("path", sorted(PIPELINE.glob("*.py")), ids=lambda path: path.stem)
def test_pipeline_knows_no_terminal(path: Path) -> None:
    """No rich, no typer, no getpass, and no command of ours in a sentence."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & FORBIDDEN
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in FORBIDDEN
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            for mark in ("`penstock ", "'penstock ", "make up"):
                assert mark not in node.value, f"{path.name}:{node.lineno}: {node.value}"


def test_no_message_of_the_library_names_a_command() -> None:
    """An API or a chat shows these texts too. Only interfaces know how a command is called; what
    installs a missing extra is the same everywhere.
    """
    library = ROOT / "penstock"
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value!r}"
        for path in library.rglob("*.py")
        if path.relative_to(library).parts[0] != "interfaces"
        for node in messages(ast.parse(path.read_text(encoding="utf-8")))
        if any(mark in str(node.value) for mark in ("`penstock ", "'penstock ", "`make ", "'make "))
    ]
    assert not found, "\n".join(found)


def messages(tree: ast.AST) -> Iterator[ast.Constant]:
    """Every text of a module but docstrings."""
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from [node] if id(node) not in docstrings else []


def test_log_lines_of_a_use_case_say_who_asked() -> None:
    """What is logged while it runs has the actor's name and channel; afterwards it has not."""
    capture = LogCapture()
    log = structlog.wrap_logger(None, processors=[structlog.contextvars.merge_contextvars, capture])

    @use_case
    def look(settings: Settings, actor: Actor) -> None:
        log.warning("seen")

    look(Settings(Process()), Actor("ana", Channel.TELEGRAM))
    log.warning("after")
    seen, after = capture.entries
    assert (seen["actor"], seen["channel"]) == ("ana", "telegram")
    assert "actor" not in after


def test_doctor_examines_everything_but_the_database_where_that_is_down(tmp_path: Path) -> None:
    """Every check without a database is made; the one that fails says what it saw."""
    settings = Settings.of(
        {
            "PENSTOCK_HOME": str(tmp_path),
            "PENSTOCK_CONFIGS": str(ROOT / "configs"),
            "PENSTOCK_DATABASE_URL": "postgresql://me:hunter2@127.0.0.1:1/penstock",
        }
    )
    checks = examine(settings, Actor("ana", Channel.API))
    assert [check.subject for check in checks] == list(Subject)[: len(checks)]
    (down,) = [check for check in checks if check.subject is Subject.DATABASE]
    assert not down.ok
    assert "127.0.0.1:1" in down.seen
    assert "hunter2" not in down.seen


def test_doctor_says_once_that_the_configuration_cannot_be_read() -> None:
    """The checks that only repeat it are left out. What another one saw stays."""
    part = Subject.CONFIGURATION
    checks = (
        HealthCheck(part, False, "no such key", part),
        HealthCheck(Subject.DATABASE, False, "no server", Subject.DATABASE),
        HealthCheck(Subject.VENUE, False, "no such key", part),
        HealthCheck(Subject.REGISTRY, True, "reached", Subject.REGISTRY),
    )
    assert _without_repetition(checks) == (*checks[:2], checks[3])


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ConfigError("a file"), Subject.CONFIGURATION),
        (VenueUnavailableError("no answer"), Subject.VENUE),
        (PenstockError("2 s apart"), Subject.VENUE_CLOCK),
    ],
)
def test_failed_check_names_what_is_to_be_mended(error: PenstockError, cause: Subject) -> None:
    """A clock that cannot be read is no wrong clock: its remedy is that of the venue."""

    def look() -> str:
        raise error

    assert _look(Subject.VENUE_CLOCK, look).cause is cause
