"""Commands for the ledger: proved against its own events, and shown as of any time."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.interfaces.cli.account import say_where_it_trades
from penstock.interfaces.cli.terminal import (
    PortfolioOption,
    opened_platform,
    operator,
    out,
    parse_instant,
    say,
)

if TYPE_CHECKING:
    from penstock.ports import Rebuild

#: Stands under the table of profit and loss: a buy's fee is in more than one of its columns and
#: counts once.
_FEES_COUNT_ONCE = (
    "Fees in base or quote are in cost already, and so in realised and unrealised: the column fees "
    "shows them apart, and nothing is to be taken off for it."
)


def rebuild(
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Only compare; change nothing. Exit code 1 where they differ."
        ),
    ] = False,
) -> None:
    """Rebuild orders and balances from the append-only events, fills and adjustments.

    Example: `penstock ledger rebuild --check`
    """
    from penstock.pipeline.ledger_audit import rebuild_ledger

    with opened_platform() as platform:
        result = rebuild_ledger(platform, operator(), check=check)
    for line in _lines(result):
        say(line)
    if result.different and not result.replaced:
        raise typer.Exit(1)


def show(
    at: Annotated[str | None, typer.Option(help="As of this time (UTC); without it: now.")] = None,
    portfolio: PortfolioOption = "daily",
    exact: Annotated[
        bool, typer.Option("--exact", help="Amounts to their last digit, not by their steps.")
    ] = False,
) -> None:
    """An account as it was at any time: orders, balances, profit and loss by strategy, and days.

    A table that is wider than the terminal is shown row by row.

    Example: `penstock ledger show --at 2026-01-31T00:05`
    """
    from penstock.interfaces.cli.console import table_of
    from penstock.interfaces.cli.tables import ledger_tables
    from penstock.pipeline.ledger_audit import show_ledger

    with opened_platform() as platform:
        say_where_it_trades(platform, portfolio)  # before: the account may not be there at all
        view = show_ledger(platform, operator(), portfolio, parse_instant(at) if at else None)
    out.print(f"{view.account} as of {view.at:%Y-%m-%d %H:%M:%S} UTC")
    for title, frame in ledger_tables(view, exact).items():
        out.print(table_of(frame, title))
        if title.startswith("Profit") and not frame.is_empty():
            out.print(_FEES_COUNT_ONCE)


def _lines(result: "Rebuild") -> list[str]:
    """Return what was compared and what came of it, one line each."""
    compared = (
        f"folded {result.events} order events, {result.fills} fills and {result.adjustments} "
        f"adjustments; compared {result.orders} orders and {result.balances} balances, row for "
        "row, the entry checkpoints, and the profit books of all strategies with the balances"
    )
    if not result.different:
        return [compared, "equal: the read models are what their events lead to"]
    outcome = (
        "replaced by what the events lead to"
        if result.replaced
        else "nothing was changed: run it without --check to mend"
    )
    rows = [
        f"  {each.table} {each.row}: stored {each.stored}, rebuilt {each.rebuilt}"
        for each in result.differences
    ]
    return [compared, f"{result.different} rows differ; {outcome}", *rows]
