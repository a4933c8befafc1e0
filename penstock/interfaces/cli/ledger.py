"""Commands for the ledger: proved against its own events, and shown as of any time."""

from typing import Annotated

import typer

from penstock.interfaces.cli.terminal import PortfolioOption, opened_platform, out, parse_instant


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
    from penstock.pipeline.ledger import rebuild_ledger, rebuild_lines

    with opened_platform() as platform:
        result = rebuild_ledger(platform, check=check)
    out.print("\n".join(rebuild_lines(result)), highlight=False, markup=False, soft_wrap=True)
    if result.different and not result.replaced:
        raise typer.Exit(1)


def show(
    at: Annotated[str | None, typer.Option(help="As of this time (UTC); without it: now.")] = None,
    portfolio: PortfolioOption = "daily",
    exact: Annotated[
        bool, typer.Option("--exact", help="Amounts to their last digit, not in cents.")
    ] = False,
) -> None:
    """An account as it was at any time: orders, balances, profit and loss by strategy, and days.

    A table that is wider than the terminal is shown row by row.

    Example: `penstock ledger show --at 2026-01-31T00:05`
    """
    from penstock.interfaces.cli.console import table_or_records
    from penstock.pipeline.ledger import FEES_COUNT_ONCE, show_ledger

    with opened_platform() as platform:
        view = show_ledger(
            platform, portfolio, parse_instant(at) if at else platform.clock.now(), exact
        )
    out.print(f"{view.account} as of {view.at:%Y-%m-%d %H:%M:%S} UTC")
    for title, frame in view.tables.items():
        out.print(table_or_records(frame, title, out))
        if frame is view.profit and not frame.is_empty():
            out.print(FEES_COUNT_ONCE)
