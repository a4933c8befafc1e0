"""Stop and resume trading by an operator's decision; cancel what works, and close what is held."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import structlog

from penstock.core.actors import Actor
from penstock.core.alerts import Alert, urgent
from penstock.core.breaks import Break, lock_subjects, subject_assets
from penstock.core.errors import ForeignHaltError, IllegalTransitionError, PenstockError
from penstock.core.halts import EVERY_ACCOUNT, Halt, TradingState
from penstock.core.instruments import holdings_by_symbol
from penstock.core.remedies import remedy
from penstock.execution.orders.cancel import (
    FLATTEN_VERSION,
    Cancellation,
    cancel_working,
    left_to_sell,
)
from penstock.execution.rebalance.outcome import reasons_held
from penstock.execution.rebalance.result import RebalanceResult
from penstock.execution.rebalance.run import RebalanceInputs, rebalance
from penstock.execution.session import AccountSession
from penstock.pipeline.alerts import add_alerts, send_alerts
from penstock.pipeline.slots import traded_portfolios
from penstock.pipeline.unexpected import ANYTHING, described, unexpected
from penstock.pipeline.use_case import use_case
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.wiring import Platform

_Shown = TypeVar("_Shown")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class StateChange:
    """A trading state that was set."""

    portfolio: str | None
    """The portfolio that was named; None where it was set on every account."""
    state: TradingState
    """The state that was set."""
    accounts: "tuple[AccountHalt, ...]"
    """The accounts of the environment that it binds, each with what is in force for it now."""

    def summary(self) -> str:
        """Return the change in one sentence, which names each account."""
        if self.portfolio is None:
            who = "every account"
            now = ", ".join(
                f"{each.account} (portfolio {each.portfolio}) {each.halt.state}"
                for each in self.accounts
            )
        else:
            (own,) = self.accounts
            who, now = own.account, f"{own.halt.state} ({own.halt.reason})"
        return f"{who} is set to {self.state}; in force now: {now}"


@dataclass(frozen=True)
class HeldPosition:
    """A position that a flattening left."""

    symbol: str
    """What is held."""
    locks: tuple[Break, ...] = ()
    """The open breaks on it."""
    reasons: tuple[str, ...] = ()
    """Why it was not sold, where no break locks it."""

    def summary(self) -> str:
        """Return what is held, and why, in one sentence."""
        if self.locks:
            why = "; ".join(f"{found.kind}: {found.detail}" for found in self.locks)
            return f"{self.symbol} is still held, locked by a break ({why})"
        return f"{self.symbol} is still held ({'; '.join(self.reasons)})"


@dataclass(frozen=True)
class AccountEnding:
    """What came of ending one account's orders and positions after a halt."""

    portfolio: str
    """The portfolio that trades the account."""
    account: str
    """The account's name in the ledger."""
    cancelled: tuple[str, ...] = ()
    """The ids of the orders that were asked to be cancelled and work no more."""
    flattened: RebalanceResult | None = None
    """What the slot that sells did; None where nothing was to be sold."""
    working: tuple[str, ...] = ()
    """A sentence for each order that may still work."""
    held: tuple[HeldPosition, ...] = ()
    """The positions that are left."""
    error: str = ""
    """What stopped the ending; "" where nothing did. The account's next slot tries it again."""

    @property
    def is_finished(self) -> bool:
        failed = self.flattened is not None and self.flattened.is_failure
        return not (self.working or self.held or self.error or failed)

    def unfinished(self) -> str:
        """Return what is still to be ended, and what to do about it; "" where nothing is."""
        left = [f"{order}; cancel it at the venue" for order in self.working]
        if self.error:
            return "; ".join([*left, f"{self.error}; the account's next slot will do it"])
        if self.flattened is not None and self.flattened.is_failure:
            left.append(self.flattened.reason or self.flattened.summary())
        for position in self.held:
            ways = dict.fromkeys(remedy(found.kind) for found in position.locks)
            left.append("; ".join([position.summary(), *ways]))
        return "; ".join(left)


@dataclass(frozen=True)
class HaltOutcome:
    """A halt that is set, and what came of ending orders and positions."""

    change: StateChange
    """The state that was set."""
    endings: tuple[AccountEnding, ...] = ()
    """One per account; empty where nothing was to be ended."""


@dataclass(frozen=True)
class AccountHalt:
    """The trading state in force for one account of the environment."""

    portfolio: str
    """The portfolio that trades the account."""
    account: str
    """The account's name in the ledger."""
    halt: Halt
    """The state, with reason and author."""

    @property
    def is_for_every_account(self) -> bool:
        return self.halt.account == EVERY_ACCOUNT


@dataclass(frozen=True)
class TradingStates:
    """Which accounts may not trade freely and which trade on."""

    halted: tuple[AccountHalt, ...]
    """The accounts that may not trade freely."""
    trading: tuple[AccountHalt, ...]
    """Those that trade on and have been traded from here."""
    kill_switch_file: Path | None
    """The file that halts every account; None where there is none."""


@use_case
def halt_trading(
    platform: Platform,
    actor: Actor,
    portfolio: str | None,
    reason: str,
    *,
    reduce_only: bool = False,
    cancel: bool = False,
    flatten: bool = False,
    on_change: Callable[[StateChange], None] = lambda _: None,
    on_ending: Callable[[AccountEnding], None] = lambda _: None,
) -> HaltOutcome:
    """Halt the portfolio's account (or let it only reduce), without a portfolio every account;
    `cancel` its working orders, `flatten` its positions.

    The state is set first, and `on_change` is called: from then on only sells that flatten are
    sent. Without a portfolio, orders and positions are ended at each account that was ever traded
    from here, one after the other. `on_ending` is called after each. What could not be ended stands
    in the ending and in an alert, and the account's next slot tries it again. What either callback
    raises is logged, and ends nothing.
    """
    state = TradingState.REDUCE_ONLY if reduce_only else TradingState.HALTED
    change = _set_state(platform, actor, portfolio, state, reason, cancel, flatten)
    _show(on_change, change)
    names = traded_portfolios(platform, actor) if portfolio is None else (portfolio,)
    if not (cancel or flatten):
        for name in names:
            send_alerts(platform, name)
        return HaltOutcome(change)
    endings = []
    for name in names:
        endings.append(_end_account(platform, name, flatten))
        _show(on_ending, endings[-1])
    return HaltOutcome(change, tuple(endings))


@use_case
def resume_trading(
    platform: Platform,
    actor: Actor,
    portfolio: str | None,
    reason: str,
    *,
    of_other_environments: bool = False,
) -> StateChange:
    """Lift what was set on the portfolio's account, without a portfolio what was set on every
    account; return what is then in force.

    A halt of one account, by an operator or by a limit, stays in force where none is named. Raises
    ForeignHaltError where a halt of every account binds accounts of another environment in the same
    ledger, such as real ones, unless `of_other_environments` allows it.
    """
    if portfolio is None and not of_other_environments:
        own = {account.name for account in platform.environment.accounts.values()}
        others = sorted(set(platform.ledger_history.accounts()) - own)
        halt = platform.control_store.trading_state(EVERY_ACCOUNT)
        if others and halt.state is not TradingState.ACTIVE:
            raise ForeignHaltError(others)
    return _set_state(platform, actor, portfolio, TradingState.ACTIVE, reason)


@use_case
def trading_states(platform: Platform, actor: Actor) -> TradingStates:
    """Return which accounts of the environment are halted, and which trade on."""
    states = [_in_force(platform, name) for name in platform.environment.accounts]
    active = [each for each in states if each.halt.state is TradingState.ACTIVE]
    file, traded = platform.kill_switch_file, traded_portfolios(platform, actor)
    return TradingStates(
        halted=tuple(each for each in states if each not in active),
        trading=tuple(each for each in active if each.portfolio in traded),
        kill_switch_file=file if file.exists() else None,
    )


def _in_force(platform: Platform, portfolio: str) -> AccountHalt:
    account = platform.environment.account_of(portfolio).name
    return AccountHalt(portfolio, account, platform.control_store.trading_state(account))


def _show(show: Callable[[_Shown], None], what: _Shown) -> None:
    """Show what was done. A full disk or a reader that is gone must not keep the rest from being
    ended.
    """
    try:
        show(what)
    except ANYTHING as error:
        _log.error("halt_not_shown", error=described(error))


def _end_account(platform: Platform, portfolio: str, flatten: bool) -> AccountEnding:
    """Cancel the orders of an account that is halted, and with `flatten` sell what it holds.

    Nothing is raised: an account that cannot even be opened (no keys) must not keep the others from
    being ended.
    """
    account = platform.environment.account_of(portfolio).name
    done, result, error = Cancellation(), None, ""
    held: tuple[HeldPosition, ...] = ()
    try:
        session = platform.session(portfolio)
        done = cancel_working(session)
        if flatten:
            result = _flatten(platform, session, portfolio)
            policy = platform.settings.portfolio(portfolio).rebalancing
            held = still_held(session, result, policy)
    except IllegalTransitionError as refused:  # its own alert says so
        send_alerts(platform, portfolio)
        return AccountEnding(
            portfolio, account, done.cancelled, result, done.left, held, str(refused)
        )
    except PenstockError as failed:
        error = str(failed)
    except ANYTHING as failed:
        error = str(unexpected(failed))
    ending = AccountEnding(portfolio, account, done.cancelled, result, done.left, held, error)
    unfinished = ending.unfinished()
    alert = Alert("the halt is set, but not finished", unfinished)
    if result is not None and result.failed_orders:
        alert = urgent(alert)
    add_alerts(platform, portfolio, *([alert] if unfinished else []))
    return ending


def still_held(
    session: AccountSession, result: RebalanceResult, policy: RebalancePolicy
) -> tuple[HeldPosition, ...]:
    """Return each position that the flattening left, with the reason. Parts of a lot do not count,
    nor does what the policy keeps or does not count.

    Where a break is open, what the venue has counts too: the ledger may not know of it yet.
    """
    balances = dict(session.ledger.balances(session.account))
    at_venue = session.exchange.balances()
    for asset in {subject_assets(found.subject)[0] for found in result.breaks} - {session.quote}:
        balances[asset] = max(balances.get(asset, Decimal(0)), at_venue.get(asset, Decimal(0)))
    above = {
        asset: held - policy.keep.get(asset, Decimal(0))
        for asset, held in balances.items()
        if asset not in policy.uncounted_assets
    }
    instruments = session.exchange.instruments()
    left = [_held(symbol, result) for symbol in left_to_sell(session, instruments, above)]
    untraded = [
        HeldPosition(symbol, _locks(symbol, result), ("the venue does not trade it now",))
        for symbol, held in holdings_by_symbol(above, session.quote).items()
        if symbol not in instruments and held > 0
    ]
    return tuple(sorted([*left, *untraded], key=lambda each: each.symbol))


def _held(symbol: str, result: RebalanceResult) -> HeldPosition:
    reasons = reasons_held(symbol, result.orders, result.findings, result.skipped)
    return HeldPosition(
        symbol, _locks(symbol, result), reasons or (result.reason or "it was not sold whole",)
    )


def _locks(symbol: str, result: RebalanceResult) -> tuple[Break, ...]:
    return tuple(found for found in result.breaks if found.subject in lock_subjects(symbol))


def _flatten(platform: Platform, session: AccountSession, portfolio: str) -> RebalanceResult:
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
    return rebalance(session, inputs)


def _set_state(
    platform: Platform,
    actor: Actor,
    portfolio: str | None,
    state: TradingState,
    reason: str,
    cancel: bool = False,
    flatten: bool = False,
) -> StateChange:
    accounts = platform.environment
    target = EVERY_ACCOUNT if portfolio is None else accounts.account_of(portfolio).name
    # a halt does not wait for the venue
    at = _venue_time(platform) if state is TradingState.ACTIVE else platform.machine_clock.now()
    platform.control_store.set_trading_state(target, state, reason, actor.name, at, cancel, flatten)
    bound = accounts.accounts if portfolio is None else [portfolio]
    return StateChange(portfolio, state, tuple(_in_force(platform, name) for name in bound))


def _venue_time(platform: Platform) -> datetime:
    """Return the venue's time, by which slots and equity are stamped; ours where it does not
    answer.
    """
    try:
        return platform.clock.now()
    except PenstockError:
        return platform.machine_clock.now()
