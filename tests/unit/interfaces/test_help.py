"""What the commands' own texts promise: an example each, and commands in backticks."""

import ast
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from penstock.interfaces import cli
from penstock.practice.faults import FaultKind

EVERY: dict[str, Callable[..., None]] = {
    **{command.__name__.replace("_", "-"): command for command in cli.COMMANDS},
    **{
        f"{group} {name}": command
        for group, _, members in cli.GROUPS
        for name, command in members.items()
    },
}
FILES = sorted(Path(inspect.getfile(cli)).parent.glob("*.py"))


@pytest.mark.parametrize("command", EVERY)
def test_help_of_every_command_shows_an_example(command: str) -> None:
    """README says so of each."""
    _, _, example = (inspect.getdoc(EVERY[command]) or "").partition("Example")
    assert f"penstock {command}" in example


def test_every_command_either_needs_a_chosen_environment_or_does_not() -> None:
    """A new command is entered where it belongs: what writes, or what only shows. The others choose
    for themselves, or ask no environment.
    """
    free = {
        *("demo", "up", "down", "status", "doctor", "migrate", "serve"),
        *("account", "deposit", "withdraw", "fault", "faults"),
    }
    names = {name.rpartition(" ")[2] for name in EVERY}
    assert names == cli.WRITING | cli.SHOWING | free
    assert not cli.WRITING & cli.SHOWING


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_commands_stand_in_backticks(path: Path) -> None:
    """One way to mark what to type: it is copied from the screen."""
    texts = [
        node.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not [text for text in texts if "'penstock " in text]


def test_help_names_every_fault_and_its_default_file() -> None:
    """An operator picks a fault from the help. What stands in angle brackets is taken for markup
    there, and not shown.
    """
    text = inspect.getdoc(EVERY["exchange fault"]) or ""
    assert not [kind for kind in FaultKind if kind not in text]
    shown = CliRunner().invoke(cli.app, ["venue", "certify", "--help"]).output
    assert "certified-VENUE-NETWORK.json" in shown


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("exchange fault", "[OPTIONS] KIND"),
        ("exchange deposit", "[OPTIONS] ASSET QUANTITY"),
        ("accept-break", "[OPTIONS] SUBJECT"),
        ("rollback", "[OPTIONS] [MODEL]"),
    ],
)
def test_usage_names_arguments_without_braces(command: str, usage: str) -> None:
    """What is typed as it stands and what is replaced look different, as in other programs."""
    text = CliRunner().invoke(cli.app, [*command.split(), "--help"]).output
    assert f"{command} {usage} " in text.splitlines()[1] + " "
