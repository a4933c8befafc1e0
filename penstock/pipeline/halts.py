"""Stop and resume trading by an operator's word; cancel what works, and close what is held."""

import getpass
from dataclasses import dataclass
from datetime import datetime

from penstock.core.accounts import TradingState
from penstock.core.errors import PenstockError
from penstock.execution.rebalance import RebalanceInputs, rebalance
from penstock.execution.report import RebalanceReport
from penstock.execution.stopping import FLATTEN_VERSION, Cancellation, cancel_working
from penstock.pipeline.alerts import alert_on_illegal_events
from penstock.portfolio.allocation import PortfolioTargets
from penstock.wiring import Platform

EVERY_ACCOUNT = "*"


@dataclass(frozen=True)
class HaltOutcome:
    """What a halt did: the state in one sentence, the orders that the venue cancelled, and the closing of positions."""

    sentence: str
    cancelled: tuple[str, ...] = ()
    flattened: RebalanceReport | None = None
    failure: str = ""


def halt_trading(
    platform: Platform,
    portfolio: str,
    reason: str,
    reduce_only: bool = False,
    everything: bool = False,
    cancel: bool = False,
    flatten: bool = False,
) -> HaltOutcome:
    """Halt an account (or let it only reduce), or every account; `cancel` its working orders, `flatten` its positions.

    The state is set first: from then on nothing new is sent but sells that flatten. With `everything` the orders and
    positions of this portfolio are ended here, those of the others by their own next slots. What could not be ended (the
    venue does not answer or refuses, another process holds the account, the flattening failed) is said in `failure`; the
    next slot tries it again.
    """
    state = TradingState.REDUCE_ONLY if reduce_only else TradingState.HALTED
    sentence = _set(platform, portfolio, state, reason, everything, cancel, flatten)
    done = Cancellation()
    try:
        if cancel or flatten:
            done = cancel_working(platform.desk(portfolio))
        report = flatten_account(platform, portfolio) if flatten else None
    except PenstockError as error:
        said = "; ".join([*done.left, str(error)])
        return HaltOutcome(sentence, done.cancelled, failure=f"{said}; the account's next slot will do it")
    return HaltOutcome(sentence, done.cancelled, report, unfinished(done, report))


def unfinished(done: Cancellation, flattened: RebalanceReport | None) -> str:
    """Return what is still to be ended after a halt, "" where nothing is."""
    left = [f"{order}; cancel it at the venue" for order in done.left]
    if flattened is not None and flattened.is_failure:
        left.append(flattened.reason or flattened.summary())
    return "; ".join(left)


def flatten_account(platform: Platform, portfolio: str) -> RebalanceReport:
    """Sell everything that the account holds, through the ledger, as a slot of its own that no strategy decided."""
    inputs = RebalanceInputs(
        slot=platform.clock.now(),
        portfolio_version=FLATTEN_VERSION,
        decide=lambda version: PortfolioTargets(version, {}, {}, {}),
        policy=platform.settings.portfolio(portfolio).rebalancing,
        limits=platform.settings.risk,
    )
    desk = platform.desk(portfolio)
    with alert_on_illegal_events(platform.notifier, desk.account):
        return rebalance(desk, inputs)


def resume_trading(platform: Platform, portfolio: str, reason: str, everything: bool = False) -> str:
    """Lift the halt of an account or of every account; return the state then in force in one sentence."""
    return _set(platform, portfolio, TradingState.ACTIVE, reason, everything)


def _set(
    platform: Platform,
    portfolio: str,
    state: TradingState,
    reason: str,
    everything: bool,
    cancel: bool = False,
    flatten: bool = False,
) -> str:
    account = platform.settings.environment.account_of(portfolio).name
    target = EVERY_ACCOUNT if everything else account
    at = _venue_time(platform) if state is TradingState.ACTIVE else platform.wall_clock.now()  # a halt waits for nobody
    platform.supervision.set_trading_state(target, state, reason, getpass.getuser(), at, cancel, flatten)
    in_force = platform.supervision.trading_state(account)
    who = "every account" if everything else account
    return f"{who} is set to {state}; in force for {account}: {in_force.state} ({in_force.reason})"


def _venue_time(platform: Platform) -> datetime:
    """Return the venue's time, by which slots and equity are stamped; ours where it does not answer."""
    try:
        return platform.clock.now()
    except PenstockError:
        return platform.wall_clock.now()
