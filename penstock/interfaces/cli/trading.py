"""Commands that let orders go out, or keep them in."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.core.extras import extra
from penstock.interfaces.cli.terminal import (
    PortfolioOption,
    ReasonOption,
    err,
    opened_platform,
    out,
    parse_instant,
    say,
)

if TYPE_CHECKING:
    from penstock.pipeline.halts import HaltOutcome


def rebalance(
    portfolio: PortfolioOption = "daily",
    slot: Annotated[
        str | None,
        typer.Option(help="Bar close to act on, like 2026-01-31T00:00. Default: the newest."),
    ] = None,
) -> None:
    """Carry the champion's target weights to the account, for one slot. A slot that is done is not
    done again.

    Exit code 1 where the slot failed, or another process held the account and did not end the slot.

    Example: `penstock rebalance --slot 2026-01-31T00:00`
    """
    from penstock.interfaces.cli.console import table_of
    from penstock.pipeline.rebalance import rebalance_slot, rows_table

    with opened_platform() as platform:
        report = rebalance_slot(platform, portfolio, parse_instant(slot) if slot else None)
    if report.rows():
        out.print(table_of(rows_table(report), "Orders"))
    out.print(report.summary())
    if report.is_failure:
        raise typer.Exit(1)


def trade(
    portfolio: PortfolioOption = "minute",
    slots: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after this many slots. Default: go on until stopped."),
    ] = None,
) -> None:
    """The minute service: at every bar's close ingest it, decide, place. Each slot is a flow run in
    the Prefect UI.

    Example: `penstock trade --slots 10`
    """
    import asyncio

    os.environ.setdefault(
        "PREFECT_LOGGING_LEVEL", "WARNING"
    )  # a line a slot is enough for a terminal
    with extra("prefect"):
        from flows.trade_minutes import trade_minutes

    asyncio.run(trade_minutes(portfolio, slots))


def halt(
    reason: ReasonOption,
    portfolio: PortfolioOption = "daily",
    reduce_only: Annotated[
        bool, typer.Option("--reduce-only", help="Still allow orders that make positions smaller.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Every account, not only this portfolio's.")
    ] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Also cancel the account's working orders.")
    ] = False,
    flatten: Annotated[
        bool, typer.Option("--flatten", help="Also cancel, and sell every position.")
    ] = False,
) -> None:
    """The kill switch: no new orders from now on, even in the middle of a plan.

    With --all, --cancel and --flatten end the orders and positions of every account that was ever
    traded from here. Exit code 1 where an order of one of them could not be cancelled, or --flatten
    left a position: its slot failed, or a break locks it. An alert says the same.

    Example: `penstock halt --reason "venue announces maintenance"`, or `penstock halt --all
    --flatten --reason "..."`
    """
    from penstock.pipeline.halts import end_others, halt_trading, still_trading

    with opened_platform() as platform:
        outcomes = [
            halt_trading(platform, portfolio, reason, reduce_only, everything, cancel, flatten)
        ]
        _show_halt(outcomes[0], cancel or flatten)
        if everything and (cancel or flatten):
            for outcome in end_others(platform, portfolio, cancel, flatten):
                _show_halt(outcome, True)
                outcomes.append(outcome)
        for sentence in still_trading(platform):
            say(sentence)
    failures = [outcome.failure for outcome in outcomes if outcome.failure]
    for failure in failures:
        say(f"not finished: {failure}", err)
    if failures:
        raise typer.Exit(1)


def _show_halt(done: "HaltOutcome", ended: bool) -> None:
    """Print what a halt did to one account; `ended` says that orders were to be cancelled."""
    from penstock.interfaces.cli.console import table_of
    from penstock.pipeline.rebalance import rows_table

    out.print(done.sentence)
    if ended:
        out.print(f"cancelled {len(done.cancelled)} working orders")
    if done.flattened is not None:
        if done.flattened.rows():  # what could not be sold is among them, with the reason
            out.print(table_of(rows_table(done.flattened), "Orders"))
        out.print(done.flattened.summary())


def resume(
    reason: ReasonOption,
    portfolio: PortfolioOption = "daily",
    everything: Annotated[
        bool, typer.Option("--all", help="Lift the halt on every account.")
    ] = False,
) -> None:
    """Allow trading again after a halt. What is still halted then is said, with the command that
    resumes it.

    Example: `penstock resume --reason "maintenance is over"`, or `penstock resume -p minute
    --reason "..."`
    """
    from penstock.pipeline.halts import not_active, resume_trading

    with opened_platform() as platform:
        say(resume_trading(platform, portfolio, reason, everything=everything))
        for sentence in not_active(platform):
            say(f"still halted: {sentence}")
