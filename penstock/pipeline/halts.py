"""Stop and resume trading by an operator's word; cancel what works, and close what is held."""

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from penstock.core.accounts import TradingState, Verdict
from penstock.core.alerts import Alert
from penstock.core.errors import IllegalTransitionError, PenstockError
from penstock.execution.desk import TradingDesk
from penstock.execution.rebalance import RebalanceInputs, rebalance
from penstock.execution.remedies import remedy
from penstock.execution.report import RebalanceReport
from penstock.execution.stopping import FLATTEN_VERSION, Cancellation, cancel_working, left_to_sell
from penstock.pipeline.alerts import send_alerts, tell
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
    venue does not answer or refuses, another process holds the account, the flattening failed, a break locks a position) is
    said in `failure` and in an alert; the next slot tries it again.
    """
    state = TradingState.REDUCE_ONLY if reduce_only else TradingState.HALTED
    sentence = _set(platform, portfolio, state, reason, everything, cancel, flatten)
    done, report = Cancellation(), None
    try:
        if cancel or flatten:
            done = cancel_working(platform.desk(portfolio))
        report = flatten_account(platform, portfolio) if flatten else None
        held = still_held(platform.desk(portfolio), portfolio, report) if report is not None else ()
        failure = unfinished(done, report, held)
    except PenstockError as error:
        failure = f"{'; '.join([*done.left, str(error)])}; the account's next slot will do it"
        if isinstance(error, IllegalTransitionError):  # its own alert says so
            send_alerts(platform, portfolio)
            return HaltOutcome(sentence, done.cancelled, report, failure)
    tell(platform, portfolio, *([Alert("the halt is set, but not finished", failure)] if failure else []))
    return HaltOutcome(sentence, done.cancelled, report, failure)


def unfinished(done: Cancellation, flattened: RebalanceReport | None, held: Sequence[str] = ()) -> str:
    """Return what is still to be ended after a halt, "" where nothing is; `held` are the sentences of `still_held`."""
    left = [f"{order}; cancel it at the venue" for order in done.left]
    if flattened is not None and flattened.is_failure:
        left.append(flattened.reason or flattened.summary())
    return "; ".join([*left, *held])


def still_held(desk: TradingDesk, portfolio: str, report: RebalanceReport) -> tuple[str, ...]:
    """Return a sentence for each position that the flattening left: what, why, and what to do. Parts of a lot do not count.

    Where a break is open, what the venue has counts too: the ledger may not know of it yet.
    """
    positions, balances = dict(desk.ledger.positions(desk.account)), desk.exchange.balances()
    for asset in {found.subject.split("/")[0] for found in report.breaks} - {desk.quote}:
        positions[asset] = max(positions.get(asset, Decimal(0)), balances.get(asset, Decimal(0)))
    left = left_to_sell(desk, desk.exchange.instruments(), positions)
    return tuple(_why_held(symbol, portfolio, report) for symbol in left)


def _why_held(symbol: str, portfolio: str, report: RebalanceReport) -> str:
    again = f"`penstock halt --flatten -p {portfolio} --reason ...` again"
    locks = [found for found in report.breaks if found.subject in (symbol, symbol.split("/", maxsplit=1)[0])]
    if locks:
        why = "; ".join(f"{found.kind}: {found.detail}" for found in locks)
        look = f"`penstock breaks -p {portfolio}`"
        do = "; ".join(dict.fromkeys(remedy(found.kind, found.subject, portfolio) for found in locks))
        return f"{symbol} is still held, locked by a break ({why}): {look}, {do}; then {again}"
    reasons = [each.reason for each in report.rejections if each.symbol == symbol and each.verdict is Verdict.DENY]
    reasons += [each.reason for each in report.skipped if each.symbol == symbol]
    reasons += [order.reason for order in report.orders if order.request.symbol == symbol and order.reason]
    return f"{symbol} is still held ({'; '.join(reasons) or report.reason or 'it was not sold whole'}): {again}"


def flatten_account(platform: Platform, portfolio: str) -> RebalanceReport:
    """Sell everything that the account holds, through the ledger, as a slot of its own that no strategy decided."""
    inputs = RebalanceInputs(
        slot=platform.clock.now(),
        portfolio_version=FLATTEN_VERSION,
        decide=lambda version: PortfolioTargets(version, {}, {}, {}),
        policy=platform.settings.portfolio(portfolio).rebalancing,
        limits=platform.settings.risk,
    )
    return rebalance(platform.desk(portfolio), inputs)


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
