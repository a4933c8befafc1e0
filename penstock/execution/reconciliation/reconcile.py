"""Ledger against venue: balances, trades, open orders, instruments. A difference opens a break,
which locks its subject only.

A break closes by itself when both agree again. Our own trades that the ledger lacks are booked on
the spot. Which trades are compared is for trade_comparison, what explains a difference for
differences and trade_history, its acceptance by an operator for acceptance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from penstock.core.breaks import Break, BreakAcceptance, BreakKind
from penstock.core.errors import OrderNotFoundError, UnknownSymbolError, VenueUnavailableError
from penstock.core.instruments import Instrument, InstrumentKind
from penstock.core.order_records import OrderRecord
from penstock.core.orders import Fill, OrderReport, OrderState
from penstock.execution.lease import LeaseKeeper
from penstock.execution.reconciliation.differences import (
    BalanceGaps,
    ExplainedDifference,
    merged,
    venues_of,
)
from penstock.execution.reconciliation.trade_comparison import OPENING_BALANCE, compare_trades
from penstock.execution.session import AccountSession

__all__ = ["OPENING_BALANCE", "Reconciliation", "compare", "locks_of", "reconcile"]

_ZERO = Decimal(0)
#: An overfill is a fact that both sides agree on: it stays locked until an operator has seen it.
_CLOSED_BY_HAND = frozenset({BreakKind.OVERFILL})
#: Whoever accepted that a fill stands twice has accepted that its order was filled beyond its
#: quantity.
_OVERFILL_SEEN = frozenset({BreakKind.OVERFILL, BreakKind.DOUBLED_FILL})


@dataclass(frozen=True)
class Reconciliation:
    """What was compared and found. `breaks` are those open now, `balances` the venue's.

    `planned` are the instruments that earlier orders were planned with, by symbol.
    """

    balances: Mapping[str, Decimal]
    breaks: tuple[Break, ...]
    opened: tuple[Break, ...] = ()
    closed: tuple[Break, ...] = ()
    fills: tuple[Fill, ...] = ()
    opening: Mapping[str, Decimal] = field(default_factory=dict)
    planned: Mapping[str, Instrument] = field(default_factory=dict)

    @property
    def locks(self) -> dict[str, str]:
        """The reason by locked subject (symbol or asset)."""
        return locks_of(self.breaks)


def locks_of(breaks: Sequence[Break]) -> dict[str, str]:
    """Return the reason by locked subject (symbol or asset)."""
    return {found.subject: f"{found.kind}: {found.detail}" for found in breaks}


@dataclass(frozen=True)
class Comparison:
    """What a look at both sides found, before anything was opened or closed. `newest` is how far
    trades were compared.
    """

    balances: Mapping[str, Decimal]
    findings: tuple[ExplainedDifference, ...] = ()
    fills: tuple[Fill, ...] = ()
    planned: Mapping[str, Instrument] = field(default_factory=dict)
    newest: Mapping[str, int] = field(default_factory=dict)


def reconcile(
    session: AccountSession,
    keeper: LeaseKeeper,
    instruments: Mapping[str, Instrument] | None = None,
) -> Reconciliation:
    """Compare ledger and venue, book what is ours and missing, open and close breaks.

    An account that has never been rebalanced takes over what the venue has as its opening balances.
    `instruments` are the venue's present ones; it is asked for them where they are not given.
    """
    if not session.ledger.rebalances(session.account, limit=1):
        at = (
            session.clock.now()
        )  # before the balances are read: what was traded up to now is in them
        return _take_over(session, keeper, session.exchange.balances(), at)
    seen = compare(session, keeper, instruments)
    if seen.newest:
        session.control_store.record_compared(keeper.lease, seen.newest)
    opened, closed = _sync(session, keeper, [finding.found for finding in seen.findings])
    breaks = tuple(session.control_store.open_breaks(session.account))
    return Reconciliation(seen.balances, breaks, opened, closed, seen.fills, planned=seen.planned)


def compare(
    session: AccountSession,
    keeper: LeaseKeeper,
    instruments: Mapping[str, Instrument] | None = None,
) -> Comparison:
    """Return what differs now. Nothing is written but our own trades that the ledger lacks."""
    planned = session.control_store.planned_instruments(session.account)
    findings = [*_open_order_breaks(session), *_changed_instruments(session, planned, instruments)]
    overfilled = _overfilled(session)
    gaps = _gaps(session)
    if gaps.open():  # a venue's balances may lag behind its trades: look twice before saying so
        session.pause(session.policy.poll_seconds)
        gaps = _gaps(session)
    trades = compare_trades(session, keeper, gaps, overfilled)
    findings += _overfills(
        session, _overfilled(session) if trades.booked else overfilled, trades.doubled
    )
    return Comparison(
        gaps.balances, merged([*findings, *gaps.findings]), trades.booked, planned, trades.newest
    )


def _gaps(session: AccountSession) -> BalanceGaps:
    return BalanceGaps(
        dict(session.exchange.balances()),
        session.ledger.balances(session.account),
        venues=venues_of(session),
    )


def _take_over(
    session: AccountSession, keeper: LeaseKeeper, balances: Mapping[str, Decimal], at: datetime
) -> Reconciliation:
    """Book the differences as opening balances; done again after a crash it books only what is
    lacking.
    """
    ledger = session.ledger.balances(session.account)
    opening = {
        asset: balances.get(asset, _ZERO) - ledger.get(asset, _ZERO)
        for asset in sorted({*balances, *ledger})
    }
    opening = {asset: quantity for asset, quantity in opening.items() if quantity}
    for asset, quantity in opening.items():
        session.ledger.book_adjustment(keeper.lease, asset, quantity, OPENING_BALANCE, at)
    return Reconciliation(
        dict(balances), tuple(session.control_store.open_breaks(session.account)), opening=opening
    )


def _open_order_breaks(session: AccountSession) -> list[ExplainedDifference]:
    """Return a break for each order that works at the venue and not in the ledger, or the other way
    round.
    """
    working = {
        order.client_order_id or order.venue_order_id: order
        for order in session.exchange.open_orders()
    }
    unfinished = {
        order.request.client_order_id: order
        for order in session.ledger.orders(session.account, unfinished_only=True)
    }
    found = [
        _unknown_order(session, report)
        for name, report in working.items()
        if name not in unfinished
    ]
    gone = [
        order for name, order in unfinished.items() if name not in working and _gone(session, order)
    ]
    return found + [_gone_order(session, order) for order in gone]


def _unknown_order(session: AccountSession, report: OrderReport) -> ExplainedDifference:
    detail = (
        f"order {report.client_order_id or report.venue_order_id} works "
        "at the venue and not in the ledger"
    )
    return ExplainedDifference(
        Break(session.account, report.symbol, BreakKind.UNKNOWN_ORDER, detail)
    )


def _gone_order(session: AccountSession, order: OrderRecord) -> ExplainedDifference:
    name = order.request.client_order_id
    detail = (
        f"order {name} has not ended in the ledger and is unknown to the venue, or its symbol is"
    )
    return ExplainedDifference(
        Break(session.account, order.request.symbol, BreakKind.ORDER_GONE, detail), orders=(name,)
    )


def _gone(session: AccountSession, order: OrderRecord) -> bool:
    """Return whether nobody can say any more what became of the order. One that is only lost is
    recovery's affair.
    """
    if order.state is OrderState.PLANNED:
        return False
    lost = order.state in (OrderState.SUBMITTING, OrderState.UNKNOWN)
    try:
        session.find_order(order.request)
    except UnknownSymbolError:
        return True
    except OrderNotFoundError:
        return not lost
    except VenueUnavailableError:
        if not lost:
            raise
    return False


def _overfilled(session: AccountSession) -> list[OrderRecord]:
    """Return every order that was filled beyond its quantity and not accepted since."""
    over = session.ledger.orders(session.account, overfilled_only=True)
    if not over:
        return []
    accepted = session.control_store.acceptances(session.account)
    return [order for order in over if not _has_accepted(accepted, order)]


def _has_accepted(accepted: Sequence[BreakAcceptance], order: OrderRecord) -> bool:
    symbol, at = order.request.symbol, order.updated_at
    return any(
        each.kind in _OVERFILL_SEEN and each.subject == symbol and each.at >= at
        for each in accepted
    )


def _overfills(
    session: AccountSession, overfilled: Sequence[OrderRecord], doubled: Sequence[Fill]
) -> list[ExplainedDifference]:
    """Return a break for each symbol with orders that were really filled beyond their quantity, not
    booked twice.
    """
    twice = [(fill.client_order_id, fill.quantity) for fill in doubled]
    real = [order for order in overfilled if _really_filled(order, twice) > order.request.quantity]
    return [
        _overfill(session, order)
        for order in {order.request.symbol: order for order in real}.values()
    ]


def _really_filled(order: OrderRecord, twice: Sequence[tuple[str, Decimal]]) -> Decimal:
    return order.filled_quantity - sum(
        (q for name, q in twice if name == order.request.client_order_id), _ZERO
    )


def _overfill(session: AccountSession, order: OrderRecord) -> ExplainedDifference:
    request = order.request
    detail = (
        f"order {request.client_order_id} for {request.quantity} was filled with "
        f"{order.filled_quantity}"
    )
    found = Break(
        session.account,
        request.symbol,
        BreakKind.OVERFILL,
        detail,
        request.quantity,
        order.filled_quantity,
    )
    return ExplainedDifference(found)


def _changed_instruments(
    session: AccountSession,
    planned: Mapping[str, Instrument],
    instruments: Mapping[str, Instrument] | None,
) -> list[ExplainedDifference]:
    """Return a break for each symbol whose steps are not those its orders were planned with."""
    if not planned:
        return []
    listed = session.exchange.instruments() if instruments is None else instruments
    return [
        _changed(session, before, listed.get(symbol))
        for symbol, before in sorted(planned.items())
        if _steps(before) != _steps(listed.get(symbol))
    ]


def _steps(instrument: Instrument | None) -> tuple[Decimal, Decimal, Decimal] | None:
    return (
        (instrument.price_tick, instrument.lot_step, instrument.contract_size)
        if instrument is not None and instrument.listed
        else None
    )


def _changed(
    session: AccountSession, before: Instrument, now: Instrument | None
) -> ExplainedDifference:
    detail = (
        f"orders were planned with {_described(before)}; at the venue it is now {_described(now)}"
    )
    found = Break(session.account, before.symbol, BreakKind.INSTRUMENT_CHANGED, detail)
    return ExplainedDifference(
        found, instrument=replace(before, listed=False) if now is None else now
    )


def _described(instrument: Instrument | None) -> str:
    if instrument is None or not instrument.listed:
        return "not listed"
    steps = [("price tick", instrument.price_tick), ("lot step", instrument.lot_step)]
    if instrument.kind is not InstrumentKind.SPOT:
        steps.append(("contract size", instrument.contract_size))
    return " and ".join(f"{name} {step.normalize():f}" for name, step in steps)


def _sync(
    session: AccountSession, keeper: LeaseKeeper, found: Sequence[Break]
) -> tuple[tuple[Break, ...], tuple[Break, ...]]:
    """Open what was found and is not open; close what is open and was not found. Return both."""
    open_now = session.control_store.open_breaks(session.account)
    if not found and not open_now:
        return (), ()
    at: datetime = session.clock.now()
    opened = tuple(
        each for each in found if session.control_store.open_break(keeper.lease, each, at)
    )
    keys = {(each.subject, each.kind) for each in found}
    closed = tuple(
        each
        for each in open_now
        if each.kind not in _CLOSED_BY_HAND and (each.subject, each.kind) not in keys
    )
    for each in closed:
        session.control_store.close_break(
            keeper.lease, each.subject, each.kind, at, "ledger and venue agree again"
        )
    return opened, closed
