"""Commands that show what an account did and has, and settle what it is said to have."""

from typing import Annotated

import typer

from penstock.interfaces.cli.terminal import (
    PortfolioOption,
    ReasonOption,
    opened_platform,
    out,
    say,
)


def status() -> None:
    """What is stored, what trades, what is open, and what is locked or halted, in one environment:
    the first line says which.

    Example: `penstock status`, or of another environment: `PENSTOCK_ENV=practice penstock status`
    """
    from penstock.interfaces.cli.console import status_view
    from penstock.pipeline.status import read_status

    with opened_platform() as platform:
        seen = read_status(platform)
    for sentence in seen.where:
        say(sentence)
    out.print(status_view(seen))
    for sentence in seen.remedies:
        say(sentence)


def slots(
    portfolio: PortfolioOption = "daily",
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 30,
) -> None:
    """What became of each slot: done, skipped or failed, and why.

    Example: `penstock slots --portfolio minute --limit 100`
    """
    from penstock.interfaces.cli.console import table_of
    from penstock.pipeline.slots import slots_table

    with opened_platform() as platform:
        rows = slots_table(platform, portfolio, limit)
    out.print(table_of(rows, f"Slots of {portfolio}, newest first"))


def breaks(
    portfolio: PortfolioOption = "daily",
    history: Annotated[
        bool, typer.Option("--history", help="Closed ones too, with when and why.")
    ] = False,
) -> None:
    """The differences between ledger and venue that lock an instrument, and what to do about each.

    Example: `penstock breaks --history`
    """
    from penstock.interfaces.cli.console import table_of
    from penstock.pipeline.breaks import list_breaks, locked_elsewhere

    with opened_platform() as platform:
        account = platform.environment.account_of(portfolio).name
        rows, others = (
            list_breaks(platform, portfolio, history),
            locked_elsewhere(platform, portfolio),
        )
    if history:
        out.print(table_of(rows, f"Breaks of {account}"))
        return
    empty = f"none that the last comparison found; `penstock reconcile -p {portfolio}` compares now"
    out.print(table_of(rows.drop("do"), f"Breaks of {account}", empty))
    for sentence in [
        *(f"{locked}: {do}" for locked, do in rows.select("locked", "do").iter_rows()),
        *others,
    ]:
        say(sentence)


def accept_break(
    subject: Annotated[
        str,
        typer.Argument(help="What is locked: a symbol or an asset, as `penstock breaks` names it."),
    ],
    reason: ReasonOption,
    portfolio: PortfolioOption = "daily",
) -> None:
    """Let the ledger take over what the venue says of a locked instrument, and unlock it.

    Example: `penstock accept-break USDT --reason "topped up by the owner"`
    """
    from penstock.pipeline.breaks import accept

    with opened_platform() as platform:
        out.print(accept(platform, portfolio, subject, reason).summary())


def reconcile(portfolio: PortfolioOption = "daily") -> None:
    """Compare the ledger with the venue now; a difference locks its instrument.

    Exit code 1 while any break is open.

    Example: `penstock reconcile`
    """
    from penstock.interfaces.cli.console import table_of
    from penstock.pipeline.reconcile import reconcile_account

    with opened_platform() as platform:
        outcome = reconcile_account(platform, portfolio)
    if outcome.found.breaks:
        out.print(table_of(outcome.table(), "Breaks"))
    out.print(outcome.summary())
    if outcome.found.breaks:
        raise typer.Exit(1)


def report(portfolio: PortfolioOption = "daily") -> None:
    """Write the account's HTML report: equity, live against backtest, positions, orders, breaks.

    Example: `penstock report`
    """
    from penstock.interfaces.cli.console import table_of
    from penstock.pipeline.report import report_account

    with opened_platform() as platform:
        outcome = report_account(platform, portfolio)
    out.print(table_of(outcome.table(), f"Account {outcome.account}"))
    out.print(outcome.summary(), soft_wrap=True)
