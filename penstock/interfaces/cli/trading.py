"""Commands that let orders go out, or keep them in."""

import importlib.metadata
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.core.extras import extra
from penstock.interfaces.cli.terminal import (
    OnlyPortfolioOption,
    PortfolioOption,
    ReasonOption,
    environment,
    err,
    opened_platform,
    operator,
    out,
    parse_instant,
    say,
)
from penstock.stack import StackError, answers

if TYPE_CHECKING:
    from penstock.pipeline.halts import AccountEnding

#: What `halt` and `resume` do without a portfolio; it may be said all the same.
_AllOption = Annotated[bool, typer.Option("--all", help="Every account.", hidden=True)]


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
    from penstock.interfaces.cli.tables import rebalance_table
    from penstock.pipeline.rebalance import rebalance_slot
    from penstock.pipeline.reconcile import reconcile_after_slot

    wanted = parse_instant(slot) if slot else None
    with opened_platform() as platform:
        result = rebalance_slot(platform, operator(), portfolio, wanted)
        if result.already_done:  # first: what follows is of an earlier run
            say(result.summary())
        if result.rows():
            title = "Orders of the earlier run" if result.already_done else "Orders"
            out.print(table_of(rebalance_table(result), title))
        if not result.already_done:
            say(result.summary())
        if not (result.already_done or result.status is None):
            compared = reconcile_after_slot(platform, operator(), portfolio)
            if compared is not None and compared.found.breaks:
                say(compared.summary())
    if result.is_failure:
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

    with extra("prefect"):
        importlib.metadata.distribution("prefect")
    wanted = {
        "PREFECT_LOGGING_LEVEL": "WARNING",  # one line per slot is enough for a terminal
        **environment(),
    }
    if wanted != dict(os.environ):
        # Prefect reads the process's own environment: the command starts over in the one it wants
        os.execve(sys.executable, [sys.executable, "-m", "penstock", *sys.argv[1:]], wanted)
    from flows.trade_minutes import trade_minutes
    from penstock.pipeline.slots import require_ready
    from tasks.platform import worker_platform

    # Prefect prints the traceback of what its flows raise: what can be known before is raised here.
    require_ready(worker_platform(), operator(), portfolio)
    _require_prefect_server()
    asyncio.run(trade_minutes(portfolio, slots))


def _require_prefect_server() -> None:
    """Raise StackError where the Prefect server that is configured does not answer."""
    from prefect.settings import PREFECT_API_URL

    url = PREFECT_API_URL.value()
    if url and not answers(f"{url.rstrip('/')}/health"):
        raise StackError(
            f"the Prefect server does not answer at {url}: start it with `penstock up`, or set "
            "PREFECT_API_URL to another"
        )


def halt(
    reason: ReasonOption,
    portfolio: OnlyPortfolioOption = None,
    reduce_only: Annotated[
        bool, typer.Option("--reduce-only", help="Still allow orders that make positions smaller.")
    ] = False,
    everything: _AllOption = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Also cancel the working orders.")
    ] = False,
    flatten: Annotated[
        bool, typer.Option("--flatten", help="Also cancel, and sell every position.")
    ] = False,
) -> None:
    """The kill switch: no new orders of any account from now on, even in the middle of a plan.

    --cancel and --flatten end the orders and positions of every account that was ever traded from
    here. With -p all of it is for one portfolio's account. Exit code 1 where an order could not be
    cancelled, or --flatten left a position. An alert says the same.

    Example: `penstock halt --reason "venue announces maintenance"`, or `penstock halt -p minute
    --flatten --reason "..."`
    """
    from penstock.interfaces.cli.remedies import ending_remedy, still_trading
    from penstock.pipeline.halts import halt_trading, trading_states

    portfolio = None if everything else portfolio
    with opened_platform() as platform:
        outcome = halt_trading(
            platform,
            operator(),
            portfolio,
            reason,
            reduce_only=reduce_only,
            cancel=cancel,
            flatten=flatten,
            on_change=lambda change: say(change.summary()),
            on_ending=lambda ending: _show_ending(ending, named=portfolio is not None),
        )
        for sentence in still_trading(trading_states(platform, operator())):
            say(sentence)
    left = [ending for ending in outcome.endings if not ending.is_finished]
    for ending in left:
        whose = "" if portfolio is not None else f"{ending.account}: "
        say(f"not finished: {whose}{ending_remedy(ending)}", err)
    if left:
        raise typer.Exit(1)


def _show_ending(done: "AccountEnding", named: bool) -> None:
    """Print what was ended at one account. `named`: the command was given its portfolio."""
    from penstock.interfaces.cli.console import table_of
    from penstock.interfaces.cli.tables import rebalance_table

    if not named:
        say(f"{done.account} (portfolio {done.portfolio}):")
    out.print(f"cancelled {len(done.cancelled)} working orders")
    if done.flattened is not None:
        if done.flattened.rows():  # what could not be sold is among them, with the reason
            out.print(table_of(rebalance_table(done.flattened), "Orders"))
        say(done.flattened.summary())


def resume(
    reason: ReasonOption,
    portfolio: OnlyPortfolioOption = None,
    everything: _AllOption = False,
) -> None:
    """Allow trading again after a halt of every account, or with -p after that of one.

    Accounts that are still halted, by a halt of their own or by a limit, are listed with the
    command that resumes them.

    Example: `penstock resume --reason "maintenance is over"`, or `penstock resume -p minute
    --reason "..."`
    """
    from penstock.interfaces.cli.remedies import not_active
    from penstock.pipeline.halts import resume_trading, trading_states

    with opened_platform() as platform:
        named = None if everything else portfolio
        change = resume_trading(
            platform, operator(), named, reason, of_other_environments=everything
        )
        say(change.summary())
        for sentence in not_active(trading_states(platform, operator())):
            say(f"still halted: {sentence}")
