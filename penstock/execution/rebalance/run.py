"""The rebalance of one account for one slot, from taking the lease to the slot's end.

A slot may be run again. One that has ended sends nothing. One that was interrupted goes on where it
stopped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

import structlog

from penstock.core.amounts import money
from penstock.core.errors import ConfigError, StaleDataError
from penstock.core.halts import Halt
from penstock.core.log_ids import slot_ids
from penstock.core.order_records import OrderRecord, SlotOrders
from penstock.core.orders import Phase
from penstock.core.parent_orders import ParentOrder
from penstock.core.rebalances import Rebalance, RebalanceStatus, SlotEquity
from penstock.core.timeframes import Timeframe
from penstock.execution.algorithms import MarketStyle, Style
from penstock.execution.algorithms.phase_worker import PhaseWorker
from penstock.execution.algorithms.slot_context import SlotContext
from penstock.execution.lease import LeaseKeeper, take_lease
from penstock.execution.orders.cancel import FLATTEN_VERSION, cancel_working
from penstock.execution.orders.recover import LOOK_BACK, end_superseded, recover
from penstock.execution.pretrade import PreTradeRisk
from penstock.execution.rebalance.outcome import (
    closings_of,
    new_breaks,
    outcome_of,
    refusal_of,
)
from penstock.execution.rebalance.result import RebalanceResult
from penstock.execution.rebalance.slot_alerts import slot_alerts
from penstock.execution.reconciliation.reconcile import Known, reconcile
from penstock.execution.session import AccountSession
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import Book, RebalancePolicy
from penstock.risk.limits import RiskLimits

_log = structlog.get_logger(__name__)
#: A run may start this many seconds before its slot by the venue's clock.
_EARLY_SECONDS = 1.0
#: The first phase is planned from the book that the slot began with, unless it is older than this
#: by the venue's clock.
_BOOK_HOLDS = timedelta(seconds=1)


@dataclass(frozen=True)
class RebalanceInputs:
    """What to rebalance to, and within which limits."""

    slot: datetime
    """The bar close that the rebalance acts on."""

    portfolio_version: str
    """The portfolio version in force. A slot that has begun keeps the version of its first run."""

    decide: Callable[[str], PortfolioTargets]
    """Returns the targets of a portfolio version at the slot."""

    policy: RebalancePolicy
    """How targets become orders."""

    limits: RiskLimits
    """What the risk rules allow."""

    timeframe: Timeframe | None = None
    """The bars that are decided on. While orders are worked they age at each bar close."""


def rebalance(session: AccountSession, inputs: RebalanceInputs) -> RebalanceResult:
    """Bring the account to the slot's targets, once; return what was done.

    The result's status is None where another process has the account. Raises what stops a run
    (StaleDataError, VenueUnavailableError, StaleLeaseError, StoreError ...). A slot that was begun
    is then still RUNNING and may be run again. The machine's clock measures how long the run took,
    the venue's how late it began.
    """
    if inputs.policy.quote != session.quote:
        raise ConfigError(
            f"the policy's quote is {inputs.policy.quote} and the account's is {session.quote}: "
            "make them the same"
        )
    with slot_ids(session.account, inputs.slot, session.ids):
        _log.info("slot_begun", portfolio_version=inputs.portfolio_version)
        result = _with_lease(session, inputs)
        _log.info(
            "slot_ended",
            status=None if result.status is None else result.status.value,
            reason=result.reason,
            sent=result.sent,
            fills=len(result.fills),
            seconds=round(result.duration_seconds, 3),
        )
        return result


def _with_lease(session: AccountSession, inputs: RebalanceInputs) -> RebalanceResult:
    """Rebalance under the account's lease, where it can be had."""
    clock, policy = session.machine_clock, session.policy
    started = clock.elapsed_seconds()
    session.ledger.open_account(session.account, session.exchange_name, session.quote)
    keeper = take_lease(
        session.ledger,
        session.account,
        policy.lease_ttl_seconds,
        policy.lease_wait_seconds,
        clock=clock,
        ids=session.ids,
    )
    if keeper is None:
        reason = "another process holds the account's lease: it is trading now"
        return RebalanceResult(session.account, inputs.slot, None, reason, inputs.portfolio_version)
    try:
        result = _rebalanced(session, keeper, inputs)
    finally:
        keeper.release()
    return replace(result, duration_seconds=clock.elapsed_seconds() - started)


def _rebalanced(
    session: AccountSession, keeper: LeaseKeeper, inputs: RebalanceInputs
) -> RebalanceResult:
    """Recover and reconcile, then trade the slot, or end it with a reason."""
    lateness = _lateness(session, inputs.slot)
    still_working = _cancel_if_asked(session)
    recovery = recover(session, keeper, inputs.slot)
    instruments = session.exchange.instruments()
    left_out = timedelta(seconds=session.policy.trade_comparison_seconds)
    # Whoever holds the lease is the only one who adds to these, or changes them.
    recent = session.ledger.rebalances(session.account, limit=LOOK_BACK)
    compared_at = session.clock.now()
    known = Known(is_rebalanced=bool(recent), unsettled=recovery.unsettled)
    reconciled = reconcile(session, keeper, instruments, left_out, known)
    end_superseded(session, keeper, inputs.slot, recent)
    slot = session.ledger.start_rebalance(keeper.lease, inputs.slot, inputs.portfolio_version)
    orders: tuple[OrderRecord, ...] = ()
    begun: Sequence[ParentOrder] = ()
    if recent and recent[0].slot >= inputs.slot:  # else no run has begun it before
        orders = tuple(session.ledger.orders(session.account, rebalance_id=slot.id))
        begun = session.parent_orders.work_of(slot.id)
    result = RebalanceResult(
        session.account,
        inputs.slot,
        slot.status,
        slot.reason,
        slot.portfolio_version,
        resumed=bool(orders),
        orders=orders,
        fills=recovery.fills,
        breaks=reconciled.breaks,
        opened=reconciled.opened,
        alerts=(*still_working, *(each.message for each in reconciled.earning)),
        lateness_seconds=lateness,
        quote=session.quote,
    )
    if slot.status is not RebalanceStatus.RUNNING:
        reason = f"already {slot.status}{f' ({slot.reason})' if slot.reason else ''}"
        return replace(result, already_done=True, reason=reason)
    # Recovery may have waited for a lost order, or for the end of a ban. A decision gets old by
    # that; what only closes the account does not.
    halt = session.switch.read()
    now_late = lateness if halt.flatten else _lateness(session, inputs.slot)
    refusal = refusal_of(
        session, inputs.slot, now_late, instruments, inputs.policy.keep, halt, recent
    )
    if refusal is not None:
        # What stopped an earlier run of the slot stays in its reason.
        reason = f"{refusal}; {slot.reason}" if slot.reason else refusal
        status = RebalanceStatus.FAILED if orders else RebalanceStatus.SKIPPED
        ended = replace(result, status=status, reason=reason)
        return _ended(session, keeper, slot, inputs, ended)
    risk = PreTradeRisk(
        session=session,
        keeper=keeper,
        limits=inputs.limits,
        slot=slot.slot,
        locks=reconciled.locks,
        halt=halt,
        planned_instruments=reconciled.planned_instruments,
        timeframe=inputs.timeframe,
    )
    context = SlotContext(
        session=session,
        keeper=keeper,
        rebalance=slot,
        instruments=instruments,
        targets=_decided(session, keeper, slot, inputs, risk.halt),
        policy=inputs.policy,
        begun=begun,
        price_tolerance=inputs.limits.price_tolerance,
    )
    traded = _traded(context, risk, result, compared_at, reconciled.ledger)
    return _ended(session, keeper, slot, inputs, *traded)


def _ended(
    session: AccountSession,
    keeper: LeaseKeeper,
    slot: Rebalance,
    inputs: RebalanceInputs,
    result: RebalanceResult,
    equity: SlotEquity | None = None,
) -> RebalanceResult:
    """End the slot with the result's status, and commit its alerts, its equity and the lease's end
    with that.

    Whoever flattens by hand is told by the halt.
    """
    assert result.status is not None
    by_hand = inputs.portfolio_version == FLATTEN_VERSION
    alerts = () if by_hand else slot_alerts(result)
    lease = keeper.lease
    session.ledger.end_rebalance(
        lease, slot.id, result.status, result.reason, alerts, equity, releases_lease=True
    )
    keeper.note_release()
    return replace(result, alerted=not by_hand)


def _lateness(session: AccountSession, slot: datetime) -> float:
    """Return how many seconds the venue's clock is past the slot.

    Raises StaleDataError where the slot has not come yet.
    """
    lateness = (session.clock.now() - slot).total_seconds()
    if lateness < -_EARLY_SECONDS:
        raise StaleDataError(
            f"the slot {slot:%Y-%m-%d %H:%M} closes in {-lateness:.0f} s: wait for it"
        )
    return lateness


def _cancel_if_asked(session: AccountSession) -> tuple[str, ...]:
    """Cancel working orders where the kill switch asks for it; return what may still work."""
    halt = session.switch.read()
    return cancel_working(session).left if halt.cancel or halt.flatten else ()


def _decided(
    session: AccountSession,
    keeper: LeaseKeeper,
    slot: Rebalance,
    inputs: RebalanceInputs,
    halt: Halt,
) -> PortfolioTargets:
    """Return the slot's targets, and record them in the ledger.

    No strategy is asked where a halt flattens the account.
    """
    version = slot.portfolio_version
    if halt.flatten:
        return PortfolioTargets(version, {}, {}, {})
    targets = inputs.decide(version)
    decided = {symbol: weight for symbol, weight in targets.weights.items() if weight is not None}
    session.ledger.record_targets(keeper.lease, slot.id, decided)
    return targets


def _traded(
    context: SlotContext,
    risk: PreTradeRisk,
    result: RebalanceResult,
    compared_at: datetime,
    held: Mapping[str, Decimal] | None,
) -> tuple[RebalanceResult, SlotEquity | None]:
    """Trade the slot: sells to their end, then buys from what the sells have yielded.

    `compared_at` is when the run compared trades before, and `held` what the ledger had then. The
    slot is not ended yet. The result says how it ends; the equity is None where it is unknown.
    """
    session, keeper, slot = context.session, context.keeper, context.rebalance
    read_at = session.clock.now()
    before = context.read_book(risk.locks, ledger=held)
    context = replace(context, targets=risk.open(before, context.targets))
    style = _style(session, risk, Phase.SELLS)
    is_fresh = session.clock.now() - read_at < _BOOK_HOLDS
    fresh = replace(before, targets=context.targets.weights) if is_fresh else None
    selling = PhaseWorker(
        context, risk, phase=Phase.SELLS, style=style, orders=SlotOrders(result.orders), book=fresh
    )
    sells = selling.work()
    style = _style(session, risk, Phase.BUYS)
    buying = PhaseWorker(context, risk, phase=Phase.BUYS, style=style, orders=selling.orders)
    buys = buying.work()
    after = context.read_book(risk.locks)
    risk.close(after)
    left_out = timedelta(seconds=session.policy.trade_comparison_seconds)
    known = Known(
        is_rebalanced=True, planned_instruments=risk.planned_instruments, compared_at=compared_at
    )
    final = reconcile(session, keeper, context.instruments, left_out, known)
    equity = None
    if after.valuation.is_known:
        equity = SlotEquity(slot.slot, after.equity, after.cash, -after.missing_value)
    # Nothing but a fill that was found late has moved an order since.
    orders = context.read_orders() if final.fills else buying.orders
    status, reason = outcome_of(orders)
    skipped = (*sells.skipped, *buys.skipped)
    closings = closings_of(risk.closing, after, risk.locks, orders, risk.findings, skipped)
    traded = replace(
        result,
        status=status,
        reason=reason,
        sent=sells.sent + buys.sent,
        equity_before=before.equity if before.valuation.is_known else None,
        equity_after=None if equity is None else equity.equity,
        cash_after=after.cash,
        invested=sum(weight for weight in context.targets.weights.values() if weight),
        orders=tuple(orders),
        fills=(*result.fills, *sells.fills, *buys.fills, *final.fills),
        skipped=skipped,
        findings=risk.findings,
        breaks=final.breaks,
        opened=(*result.opened, *new_breaks(final.breaks, result.breaks)),
        alerts=(
            *result.alerts,
            *_unknown(before, after),
            *closings.closed,
            *closings.locked,
            *risk.alerts,
        ),
        urgent=closings.held,
        not_closed=closings.left,
    )
    return traded, equity


def _unknown(*books: Book) -> tuple[str, ...]:
    """Return an alert where equity was unknown at either end of the slot."""
    found = [book for book in books if not book.valuation.is_known]
    if not found:
        return ()
    equity = found[0].valuation
    return (
        "equity is unknown, so nothing but exits is planned and no loss limit acts "
        f"({equity.reason}); what is priced comes to "
        f"{money(equity.value, found[0].policy.quote)}",
    )


def _style(session: AccountSession, risk: PreTradeRisk, phase: Phase) -> Style:
    """Return the account's style, or market orders where positions must be closed at once."""
    is_urgent = risk.halt.flatten or (phase is Phase.SELLS and risk.closing)
    return MarketStyle() if is_urgent else session.style
