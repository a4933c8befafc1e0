"""Commands that show what an account did and has, and settle its breaks."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.interfaces.cli.terminal import (
    PortfolioOption,
    ReasonOption,
    err,
    opened_platform,
    operator,
    out,
    say,
    settings,
)

if TYPE_CHECKING:
    from penstock.wiring import Platform


def say_where_it_trades(platform: "Platform", portfolio: str) -> None:
    """Say which other portfolios have traded, where the one that is asked for never has."""
    from penstock.interfaces.cli.remedies import traded_elsewhere
    from penstock.pipeline.slots import traded_portfolios

    sentence = traded_elsewhere(portfolio, traded_portfolios(platform, operator()))
    if sentence:
        say(sentence, err)


def status() -> None:
    """What is stored, trades, is open, locked or halted in one environment. The first line says
    which.

    Example: `penstock status`, or of another environment: `PENSTOCK_ENV=practice penstock status`
    """
    from penstock.interfaces.cli.console import status_view
    from penstock.interfaces.cli.remedies import break_remedy, not_active, stack_lines
    from penstock.pipeline.status import ChosenBy, choose_environment, read_status

    chosen, actor = settings(), operator()
    # before the database is opened: that may start it, and what is dead may keep the rest waiting
    environment = choose_environment(chosen, actor)
    why = {
        ChosenBy.STACK: "the stack that runs from this home works with it",
        ChosenBy.ABANDONED_STACK: "the stack that was started from this home worked with it",
        ChosenBy.VARIABLE: "PENSTOCK_ENV says so",
        ChosenBy.DEFAULT: "the default: PENSTOCK_ENV is not set, and no stack runs from "
        f"{chosen.home}",
    }
    say(f"environment {environment.name} ({why[environment.why]})")
    for line in stack_lines(environment.stack):
        say(line)
    with opened_platform() as platform:
        seen = read_status(platform, actor, environment.stack)
    for other in seen.others:
        say(f"this ledger has accounts of {other} too: `PENSTOCK_ENV={other} penstock status`")
    if seen.models_unknown:
        say(f"models are not known: {seen.models_unknown}")
    out.print(status_view(seen))
    for each in seen.accounts:
        for found in each.breaks:
            way = break_remedy(found.kind, found.subject, each.portfolio)
            say(f"{found.subject} of {each.account}: {way}")
    for sentence in not_active(seen.states):
        say(sentence)


def positions(
    portfolio: PortfolioOption = "daily",
    as_json: Annotated[
        bool, typer.Option("--json", help="As JSON: amounts are texts, null is unknown.")
    ] = False,
) -> None:
    """What an account holds: price, value, weight and unrealised profit at the newest known prices.

    Example: `penstock positions --portfolio minute --json`
    """
    import json

    from penstock.interfaces.cli.console import positions_view
    from penstock.interfaces.cli.tables import positions_record
    from penstock.pipeline.positions import list_positions

    with opened_platform() as platform:
        held = list_positions(platform, operator(), portfolio)
        say_where_it_trades(platform, portfolio)
    if as_json:
        say(json.dumps(positions_record(held), indent=2))
        return
    out.print(positions_view(held, f"Positions of {held.account}"))


def slots(
    portfolio: PortfolioOption = "daily",
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 30,
) -> None:
    """What became of each slot: done, skipped or failed, and why.

    Example: `penstock slots --portfolio minute --limit 100`
    """
    from penstock.interfaces.cli.console import table_of
    from penstock.interfaces.cli.tables import slots_table
    from penstock.pipeline.slots import list_slots

    with opened_platform() as platform:
        found = list_slots(platform, operator(), portfolio, limit)
        say_where_it_trades(platform, portfolio)
    out.print(table_of(slots_table(found), f"Slots of {portfolio}, newest first"))


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
    from penstock.interfaces.cli.remedies import break_remedy, locked_elsewhere
    from penstock.interfaces.cli.tables import open_breaks_table, past_breaks_table
    from penstock.pipeline.breaks import break_history, list_breaks

    with opened_platform() as platform:
        account = platform.environment.account_of(portfolio).name
        say_where_it_trades(platform, portfolio)
        if history:
            past = break_history(platform, operator(), portfolio)
            out.print(table_of(past_breaks_table(past), f"Breaks of {account}"))
            return
        found = list_breaks(platform, operator())
    (own,) = (each for each in found if each.portfolio == portfolio)
    empty = f"none that the last comparison found; `penstock reconcile -p {portfolio}` compares now"
    out.print(table_of(open_breaks_table(own.breaks), f"Breaks of {account}", empty))
    for each in own.breaks:
        say(f"{each.subject}: {break_remedy(each.kind, each.subject, portfolio)}")
    for other in found:
        if other is not own and other.breaks:
            say(locked_elsewhere(other))


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
    from penstock.pipeline.breaks import accept_break as accept

    with opened_platform() as platform:
        out.print(accept(platform, operator(), portfolio, subject, reason).summary())


def reconcile(portfolio: PortfolioOption = "daily") -> None:
    """Compare the ledger with the venue now; a difference locks its instrument.

    Exit code 1 while any break is open.

    Example: `penstock reconcile`
    """
    from penstock.interfaces.cli.console import table_of
    from penstock.monitoring.tables import breaks_table
    from penstock.pipeline.reconcile import reconcile_account

    with opened_platform() as platform:
        outcome = reconcile_account(platform, operator(), portfolio)
    if outcome.found.breaks:
        out.print(table_of(breaks_table(outcome.found.breaks), "Breaks"))
    out.print(outcome.summary())
    if outcome.found.breaks:
        raise typer.Exit(1)


def report(portfolio: PortfolioOption = "daily") -> None:
    """Write the account's HTML report: equity, live against backtest, positions, orders, breaks.

    Example: `penstock report`
    """
    from penstock.interfaces.cli.console import positions_view, table_of
    from penstock.monitoring.tables import figures_table
    from penstock.pipeline.report import report_account

    with opened_platform() as platform:
        outcome = report_account(platform, operator(), portfolio)
        say_where_it_trades(platform, portfolio)
    out.print(table_of(figures_table(outcome.figures), f"Account {outcome.account}"))
    out.print(positions_view(outcome.holdings, "Positions"))
    out.print(outcome.summary(), soft_wrap=True)
