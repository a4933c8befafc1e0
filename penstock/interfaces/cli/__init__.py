"""The `penstock` command: every step of the pipeline from a terminal. Each command's help shows an
example.

Decides how a step is called and how its outcome is shown; what the step does is for
penstock.pipeline. The tables below are the commands in the order in which the help lists them.
"""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Annotated

import typer
from rich.markup import escape
from typer.core import TyperCommand

from penstock import __version__
from penstock.core.errors import PenstockError
from penstock.interfaces.cli import account, exchange, ledger, machine, models, trading, venue
from penstock.interfaces.cli.terminal import err, lost_output, out, say, work_with
from penstock.monitoring.log_output import send_logs
from penstock.settings import Settings
from penstock.stack import Followed, UnreadableStackError, follow_stack

COMMANDS: tuple[Callable[..., None], ...] = (
    machine.demo,
    machine.up,
    machine.down,
    models.ingest,
    models.research,
    models.journal,
    models.promote,
    models.rollback,
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
#: Commands that work where nobody can read which stack the home has.
_MEND_IT = frozenset({"up", "down", "doctor", "demo"})


class _Command(TyperCommand):
    """A command whose usage line names a required argument like ASSET, not like {asset}."""

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
    send_logs("warning")
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
        sentence = f"{error}; {way}" if way else str(error)
        err.print(f"[bold red]error:[/] {escape(sentence)}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        err.print(
            "stopped; what was committed stays, and running the command again goes on from there"
        )
        sys.exit(130)


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
    send_logs(process.log_level)
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
