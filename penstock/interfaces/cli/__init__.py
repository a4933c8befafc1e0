"""The `penstock` command: every step of the pipeline from a terminal. Each command's help shows an
example.

Decides how a step is called and how its outcome is shown; what the step does is for
penstock.pipeline. The tables below are the commands in the order in which the help lists them.
"""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperCommand

from penstock import __version__
from penstock.core.errors import PenstockError
from penstock.interfaces.cli import account, exchange, ledger, machine, models, trading, venue
from penstock.interfaces.cli.terminal import environment, err, lost_output, out, say, work_with
from penstock.monitoring.log_output import send_logs
from penstock.settings import Settings
from penstock.stack import (
    Followed,
    StackNotRunningError,
    UnreadableStackError,
    follow_stack,
    require_chosen_environment,
)

COMMANDS: tuple[Callable[..., None], ...] = (
    machine.demo,
    machine.up,
    machine.down,
    models.ingest,
    models.research,
    models.journal,
    models.promote,
    models.rollback,
    models.costs,
    trading.rebalance,
    trading.trade,
    account.status,
    account.positions,
    account.slots,
    trading.halt,
    trading.resume,
    account.breaks,
    account.accept_break,
    account.reconcile,
    account.report,
    machine.doctor,
)
GROUPS: tuple[tuple[str, str, Mapping[str, Callable[..., None]]], ...] = (
    ("db", "The database and its schema.", {"migrate": machine.database_migrate}),
    (
        "exchange",
        "The practice exchange: a server that speaks Binance's spot wire on this machine.",
        {
            "serve": exchange.serve,
            "account": exchange.account,
            "deposit": exchange.deposit,
            "withdraw": exchange.withdraw,
            "fault": exchange.fault,
            "faults": exchange.faults,
        },
    ),
    (
        "ledger",
        "The ledger: proved against its own events, and shown as of any time.",
        {"rebuild": ledger.rebuild, "show": ledger.show},
    ),
    ("venue", "How a venue behaves, tried with your own keys.", {"certify": venue.certify}),
)

#: Commands that show or end a stack that has lost its supervisor, or work without any.
_SAY_IT_THEMSELVES = frozenset({"status", "doctor", "up", "down", "demo"})
#: Commands that run for long beside others: their log is read by machines.
_SERVICES = frozenset({"trade", "exchange", "up"})
#: Commands whose answer is what their alert says.
_ANSWER_ALERTS = frozenset({"promote", "rollback"})
#: The lines of the alerts that were shown: an error that one of them is, is not shown again.
_alerted: list[str] = []
#: Commands that work where nobody can read which stack the home has.
_MEND_IT = frozenset({"up", "down", "doctor", "demo"})


#: Commands that write or send. They do so in no environment that nobody has chosen.
WRITING = frozenset(
    {
        *("ingest", "research", "promote", "rollback", "rebalance", "trade", "resume"),
        *("accept-break", "reconcile", "certify"),
    }
)
#: Commands that only show something, of one environment. Nor is the kill switch ever refused.
SHOWING = frozenset(
    {"costs", "journal", "positions", "slots", "breaks", "report", "rebuild", "show", "halt"}
)


class _Command(TyperCommand):
    """A command that knows whether it needs an environment that was chosen. Its usage line names a
    required argument like ASSET, not like {asset}.
    """

    # typer makes the context, a typer.Context
    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        if self.name in WRITING | SHOWING:
            _look_at_environment(self.name)
        return super().invoke(ctx)

    # typer makes the context, a typer.Context
    def collect_usage_pieces(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return [piece.strip("{}").upper() for piece in super().collect_usage_pieces(ctx)]


app = typer.Typer(
    name="penstock",
    help="From market data to orders, with gates between: ingest, research, promote, rebalance.\n\n"
    "Start with: penstock demo",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for command in COMMANDS:
    app.command(cls=_Command)(command)
for group, purpose, members in GROUPS:
    group_app = typer.Typer(help=purpose, no_args_is_help=True)
    for name, member in members.items():
        group_app.command(name, cls=_Command)(member)
    app.add_typer(group_app, name=group)


def main() -> None:
    """Run the command; a PenstockError becomes one sentence on stderr and exit code 1. So does an
    answer that could not be written, once the command has done what it was asked for.
    """
    send_logs("warning", readable=True, on_alert=_shown_by(""))
    try:
        app()
    except SystemExit as ended:
        error = lost_output()
        if error is None or ended.code not in (None, 0):
            raise
        _say_lost(error)
        sys.exit(1)
    except PenstockError as error:
        from penstock.interfaces.cli.remedies import error_remedy

        way = error_remedy(error)
        known = str(error) in _alerted
        what = "the alert above says what" if known else str(error)
        sentence = f"{what}; {way}" if way else what
        err.print(f"[bold red]error:[/] {escape(sentence)}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        err.print(
            "stopped; what was committed stays, and running the command again goes on from there"
        )
        sys.exit(130)


def _shown_by(command: str) -> Callable[[str], bool]:
    """Return what says whether a line of an alert is shown beside the command's answer."""

    def shown(line: str) -> bool:
        if command in _ANSWER_ALERTS:
            return False
        _alerted.append(line)
        return True

    return shown


def _say_lost(error: Exception) -> None:
    """Say that the answer is lost, where somebody still reads. What waits in standard output is
    dropped: it would fail again when the process ends.
    """
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):
        say(f"done, but its output could not be written: {error}", err)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        out.print(f"penstock {__version__}")
        raise typer.Exit
    command = context.invoked_subcommand or ""
    followed = _followed(command)
    work_with(followed.variables)
    process = Settings.of(os.environ).process
    is_service = command in _SERVICES
    send_logs(process.log_level, readable=not is_service, on_alert=_shown_by(command))
    home = process.home
    for name, (mine, theirs) in followed.kept.items():
        err.print(
            f"[yellow]note:[/] {name} is {mine} here and {theirs} in the stack that runs from "
            f"{home}: this command works with {mine}; unset {name} to work with the stack",
            highlight=False,
            soft_wrap=True,
        )
    stack = followed.abandoned
    if stack is not None and command not in _SAY_IT_THEMSELVES:
        from penstock.interfaces.cli.remedies import STACK_REMEDY

        env = followed.variables["PENSTOCK_ENV"]
        say(
            f"note: the supervisor of the stack of {home} (process {stack.supervisor.pid}) has "
            f"died; this command works with {env} all the same. {STACK_REMEDY}",
            err,
        )


def _look_at_environment(command: str) -> None:
    """Refuse a command that writes where nobody has chosen its environment: say with which one
    another command works.
    """
    try:
        require_chosen_environment(environment())
    except StackNotRunningError as error:
        if command in WRITING:
            raise
        from penstock.interfaces.cli.remedies import error_remedy

        every = "; `penstock halt --all` halts every account" if command == "halt" else ""
        say(f"note: {error}, and does; {error_remedy(error)}{every}", err)


def _followed(command: str) -> Followed:
    """Return the environment of the stack that the command follows. One whose note is damaged stops
    every command but those that mend it.
    """
    try:
        return follow_stack(os.environ)
    except UnreadableStackError:
        if command not in _MEND_IT:
            raise
        return Followed(os.environ, {})
