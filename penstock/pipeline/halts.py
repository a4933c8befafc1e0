"""Stop and resume trading by an operator's word; cancel what works, and close what is held."""

import getpass
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from penstock.core.alerts import Alert
from penstock.core.breaks import lock_subjects, subject_assets
from penstock.core.errors import IllegalTransitionError, PenstockError
from penstock.core.halts import TradingState
from penstock.core.risk_records import Verdict
from penstock.execution.orders.cancel import (
    FLATTEN_VERSION,
    Cancellation,
    cancel_working,
    left_to_sell,
)
from penstock.execution.rebalance.report import RebalanceReport
from penstock.execution.rebalance.run import RebalanceInputs, rebalance
from penstock.execution.reconciliation.remedies import remedy
from penstock.execution.session import AccountSession
from penstock.pipeline.alerts import send_alerts, tell
from penstock.portfolio.allocation import PortfolioTargets
from penstock.wiring import Platform

EVERY_ACCOUNT = "*"


@dataclass(frozen=True)
class HaltOutcome:
    """What a halt did: the state in one sentence, the orders that the venue cancelled, and the
    closing of positions.
    """

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
    """Halt an account (or let it only reduce), or every account; `cancel` its working orders,
    `flatten` its positions.

    The state is set first: from then on nothing new is sent but sells that flatten. With
    `everything` the orders and positions of this portfolio are ended here, those of the others by
    `end_others` or their own next slots. What could not be ended (the venue does not answer or
    refuses, another process holds the account, the flattening failed, a break locks a position) is
    said in `failure` and in an alert; the next slot tries it again.
    """
    state = TradingState.REDUCE_ONLY if reduce_only else TradingState.HALTED
    sentence = _set(platform, portfolio, state, reason, everything, cancel, flatten)
    return _ended(platform, portfolio, sentence, cancel, flatten)


def end_others(
    platform: Platform, portfolio: str, cancel: bool, flatten: bool
) -> Iterator[HaltOutcome]:
    """Cancel, and `flatten`, at every account but this portfolio's, one after the other; yield what
    came of each.

    For accounts that are halted already. One that has never been traded from here has nothing of
    ours, and is left alone.
    """
    for name, account in platform.environment.accounts.items():
        if name != portfolio and platform.ledger.rebalances(account.name, limit=1):
            done = _ended(
                platform, name, f"{account.name} (portfolio {name}) is halted too", cancel, flatten
            )
            yield replace(done, failure=f"{account.name}: {done.failure}") if done.failure else done


def not_active(platform: Platform) -> list[str]:
    """Return a sentence for each account of the environment that may not trade freely, with the
    command that resumes it.
    """
    found = []
    for name, account in platform.environment.accounts.items():
        halt = platform.control_store.trading_state(account.name)
        if halt.state is not TradingState.ACTIVE:
            whose = "--all" if halt.account == EVERY_ACCOUNT else f"-p {name}"
            resume = f"`penstock resume {whose} --reason ...`"
            found.append(
                f"{account.name} (portfolio {name}) is {halt.state} ({halt.reason}): {resume}"
            )
    if platform.kill_switch_file.exists():
        found.append(f"every account is halted by the file {platform.kill_switch_file}: delete it")
    return found


def still_trading(platform: Platform) -> list[str]:
    """Return a sentence for each account that has been traded from here and is not halted, with the
    command that halts it.
    """
    return [
        f"{account.name} (portfolio {name}) trades on: `penstock halt -p {name} --reason ...`"
        for name, account in platform.environment.accounts.items()
        if platform.control_store.trading_state(account.name).state is TradingState.ACTIVE
        and platform.ledger.rebalances(account.name, limit=1)
    ]


def _ended(
    platform: Platform, portfolio: str, sentence: str, cancel: bool, flatten: bool
) -> HaltOutcome:
    """Return what `_end_account` does. An account that cannot even be opened (no keys) must not
    keep the others from it.
    """
    try:
        return _end_account(platform, portfolio, sentence, cancel, flatten)
    except PenstockError as error:
        return HaltOutcome(sentence, failure=f"{error}; the account's next slot will do it")


def _end_account(
    platform: Platform, portfolio: str, sentence: str, cancel: bool, flatten: bool
) -> HaltOutcome:
    """Carry out what a halt that is set asks of one account; `sentence` says the halt in the
    outcome.
    """
    done, report = Cancellation(), None
    try:
        if cancel or flatten:
            done = cancel_working(platform.session(portfolio))
        report = flatten_account(platform, portfolio) if flatten else None
        held = (
            still_held(platform.session(portfolio), portfolio, report) if report is not None else ()
        )
        failure = unfinished(done, report, held)
    except PenstockError as error:
        failure = f"{'; '.join([*done.left, str(error)])}; the account's next slot will do it"
        if isinstance(error, IllegalTransitionError):  # its own alert says so
            send_alerts(platform, portfolio)
            return HaltOutcome(sentence, done.cancelled, report, failure)
    tell(
        platform,
        portfolio,
        *([Alert("the halt is set, but not finished", failure)] if failure else []),
    )
    return HaltOutcome(sentence, done.cancelled, report, failure)


def unfinished(
    done: Cancellation, flattened: RebalanceReport | None, held: Sequence[str] = ()
) -> str:
    """Return what is still to be ended after a halt, "" where nothing is; `held` are the sentences
    of `still_held`.
    """
    left = [f"{order}; cancel it at the venue" for order in done.left]
    if flattened is not None and flattened.is_failure:
        left.append(flattened.reason or flattened.summary())
    return "; ".join([*left, *held])


def still_held(session: AccountSession, portfolio: str, report: RebalanceReport) -> tuple[str, ...]:
    """Return a sentence for each position that the flattening left: what, why, and what to do.
    Parts of a lot do not count.

    Where a break is open, what the venue has counts too: the ledger may not know of it yet.
    """
    positions, balances = (
        dict(session.ledger.positions(session.account)),
        session.exchange.balances(),
    )
    for asset in {subject_assets(found.subject)[0] for found in report.breaks} - {session.quote}:
        positions[asset] = max(positions.get(asset, Decimal(0)), balances.get(asset, Decimal(0)))
    left = left_to_sell(session, session.exchange.instruments(), positions)
    return tuple(_why_held(symbol, portfolio, report) for symbol in left)


def _why_held(symbol: str, portfolio: str, report: RebalanceReport) -> str:
    again = f"`penstock halt --flatten -p {portfolio} --reason ...` again"
    locks = [found for found in report.breaks if found.subject in lock_subjects(symbol)]
    if locks:
        why = "; ".join(f"{found.kind}: {found.detail}" for found in locks)
        look = f"`penstock breaks -p {portfolio}`"
        do = "; ".join(
            dict.fromkeys(remedy(found.kind, found.subject, portfolio) for found in locks)
        )
        return f"{symbol} is still held, locked by a break ({why}): {look}, {do}; then {again}"
    reasons = [
        each.reason
        for each in report.findings
        if each.symbol == symbol and each.verdict is Verdict.DENY
    ]
    reasons += [each.reason for each in report.skipped if each.symbol == symbol]
    reasons += [
        order.reason for order in report.orders if order.request.symbol == symbol and order.reason
    ]
    return f"{symbol} is still held ({'; '.join(reasons) or report.reason or 'it was not sold whole'}): {again}"


def flatten_account(platform: Platform, portfolio: str) -> RebalanceReport:
    """Sell everything that the account holds, through the ledger, as a slot of its own that no
    strategy decided.
    """
    inputs = RebalanceInputs(
        slot=platform.clock.now(),
        portfolio_version=FLATTEN_VERSION,
        decide=lambda version: PortfolioTargets(version, {}, {}, {}),
        policy=platform.settings.portfolio(portfolio).rebalancing,
        limits=platform.settings.risk,
    )
    return rebalance(platform.session(portfolio), inputs)


def resume_trading(
    platform: Platform, portfolio: str, reason: str, everything: bool = False
) -> str:
    """Lift the halt of an account or of every account; return the state then in force in one
    sentence.
    """
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
    at = (
        _venue_time(platform) if state is TradingState.ACTIVE else platform.machine_clock.now()
    )  # a halt waits for nobody
    platform.control_store.set_trading_state(
        target, state, reason, getpass.getuser(), at, cancel, flatten
    )
    in_force = platform.control_store.trading_state(account)
    who = "every account" if everything else account
    return f"{who} is set to {state}; in force for {account}: {in_force.state} ({in_force.reason})"


def _venue_time(platform: Platform) -> datetime:
    """Return the venue's time, by which slots and equity are stamped; ours where it does not
    answer.
    """
    try:
        return platform.clock.now()
    except PenstockError:
        return platform.machine_clock.now()
