"""Ledger against venue: balances, trades, open orders, instruments. A difference opens a break, which locks its subject only.

A break closes by itself when both agree again. Our own trades that the ledger lacks are booked on the spot. What explains
a difference of balances is for differences and trade_history; an operator's word on a break is for acceptance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from penstock.core.accounts import Break, BreakAcceptance, BreakKind, OrderRecord
from penstock.core.errors import OrderNotFoundError
from penstock.core.instruments import Instrument
from penstock.core.orders import Fill, OrderReport, OrderState
from penstock.execution.desk import TradingDesk
from penstock.execution.differences import Finding, Gaps, changes_of, unexplained
from penstock.execution.lease import LeaseKeeper
from penstock.execution.trade_history import TradeHistory

__all__ = ["Reconciliation", "changes_of", "compare", "reconcile"]

_ZERO = Decimal(0)
#: An overfill is a fact that both sides agree on: it stays locked until an operator has seen it.
_CLOSED_BY_HAND = frozenset({BreakKind.OVERFILL})
#: More rebalances than an account will ever have.
_ALL = 10_000_000
OPENING_BALANCE = "opening balance"


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
        return {found.subject: f"{found.kind}: {found.detail}" for found in self.breaks}


@dataclass(frozen=True)
class Comparison:
    """What a look at both sides found, before anything was opened or closed."""

    balances: Mapping[str, Decimal]
    findings: tuple[Finding, ...] = ()
    fills: tuple[Fill, ...] = ()
    planned: Mapping[str, Instrument] = field(default_factory=dict)


def reconcile(desk: TradingDesk, keeper: LeaseKeeper, instruments: Mapping[str, Instrument] | None = None) -> Reconciliation:
    """Compare ledger and venue, book what is ours and missing, open and close breaks.

    An account that has never been rebalanced takes over what the venue has as its opening balances. `instruments` are the
    venue's present ones; it is asked for them where they are not given.
    """
    if not desk.ledger.rebalances(desk.account, limit=1):
        return _take_over(desk, keeper, desk.exchange.balances())
    seen = compare(desk, keeper, instruments)
    opened, closed = _sync(desk, [finding.found for finding in seen.findings])
    breaks = tuple(desk.supervision.open_breaks(desk.account))
    return Reconciliation(seen.balances, breaks, opened, closed, seen.fills, planned=seen.planned)


def compare(desk: TradingDesk, keeper: LeaseKeeper, instruments: Mapping[str, Instrument] | None = None) -> Comparison:
    """Return what differs now. Nothing is written but our own trades that the ledger lacks."""
    planned = desk.supervision.planned_instruments(desk.account)
    findings = [*_open_order_breaks(desk), *_overfills(desk), *_changed_instruments(desk, planned, instruments)]
    balances = dict(desk.exchange.balances())
    gaps = Gaps(balances, desk.ledger.positions(desk.account))
    if gaps.open():  # a venue's balances may lag behind its trades: look twice before saying so
        desk.pause(desk.policy.poll_seconds)
        balances = dict(desk.exchange.balances())
        gaps = Gaps(balances, desk.ledger.positions(desk.account))
    fills = _explain(desk, keeper, gaps) if gaps.open() else []
    return Comparison(balances, (*findings, *gaps.findings), tuple(fills), planned)


def _take_over(desk: TradingDesk, keeper: LeaseKeeper, balances: Mapping[str, Decimal]) -> Reconciliation:
    """Book the differences as opening balances; done again after a crash it books only what is lacking."""
    ledger = desk.ledger.positions(desk.account)
    opening = {asset: balances.get(asset, _ZERO) - ledger.get(asset, _ZERO) for asset in sorted({*balances, *ledger})}
    opening = {asset: quantity for asset, quantity in opening.items() if quantity}
    for asset, quantity in opening.items():
        desk.ledger.book_adjustment(keeper.lease, asset, quantity, OPENING_BALANCE, desk.clock.now())
    return Reconciliation(dict(balances), tuple(desk.supervision.open_breaks(desk.account)), opening=opening)


def _explain(desk: TradingDesk, keeper: LeaseKeeper, gaps: Gaps) -> list[Fill]:
    """Put into `gaps` what explains them, the surest first; return our own trades booked on the way."""
    since = min(rebalance.slot for rebalance in desk.ledger.rebalances(desk.account, limit=_ALL))
    accepted = desk.supervision.acceptances(desk.account)
    ours = frozenset(order.request.client_order_id for order in desk.ledger.orders(desk.account))
    histories: list[TradeHistory] = []
    booked: list[Fill] = []
    for asset in sorted(set(gaps.open()) - {desk.quote}):
        history = TradeHistory(desk, f"{asset}/{desk.quote}", since, accepted)
        found, refused = history.book_ours(keeper, ours)
        booked += found
        gaps.findings += refused
        histories.append(history)
    gaps.ledger = desk.ledger.positions(desk.account)
    for history in histories:
        gaps.findings += history.findings(ours)
    for history in histories:
        lacking = history.lacking(gaps)
        gaps.findings += [] if lacking is None else [lacking]
    gaps.findings += unexplained(desk, gaps, since, accepted)
    return booked


def _open_order_breaks(desk: TradingDesk) -> list[Finding]:
    """Return a break for each order that works at the venue and not in the ledger, or the other way round."""
    working = {order.client_order_id or order.venue_order_id: order for order in desk.exchange.open_orders()}
    unfinished = {order.request.client_order_id: order for order in desk.ledger.orders(desk.account, unfinished_only=True)}
    found = [_unknown_order(desk, report) for name, report in working.items() if name not in unfinished]
    gone = [order for name, order in unfinished.items() if name not in working and _gone(desk, order)]
    return found + [_gone_order(desk, order) for order in gone]


def _unknown_order(desk: TradingDesk, report: OrderReport) -> Finding:
    detail = f"order {report.client_order_id or report.venue_order_id} works at the venue and not in the ledger"
    return Finding(Break(desk.account, report.symbol, BreakKind.UNKNOWN_ORDER, detail))


def _gone_order(desk: TradingDesk, order: OrderRecord) -> Finding:
    name = order.request.client_order_id
    detail = f"order {name} is {order.state} in the ledger and unknown to the venue"
    return Finding(Break(desk.account, order.request.symbol, BreakKind.ORDER_GONE, detail), orders=(name,))


def _gone(desk: TradingDesk, order: OrderRecord) -> bool:
    if order.state in (OrderState.PLANNED, OrderState.SUBMITTING, OrderState.UNKNOWN):
        return False
    try:
        desk.exchange.find_order(order.request.client_order_id, order.request.symbol)
    except OrderNotFoundError:
        return True
    return False


def _overfills(desk: TradingDesk) -> list[Finding]:
    """Return a break for each order of the newest slot that was filled beyond its quantity, unless that was accepted."""
    newest = desk.ledger.rebalances(desk.account, limit=1)[0]
    over = [
        order
        for order in desk.ledger.orders(desk.account, rebalance_id=newest.id)
        if order.filled_quantity > order.request.quantity
    ]
    if not over:
        return []
    accepted = desk.supervision.acceptances(desk.account)
    return [_overfill(desk, order) for order in over if not _has_accepted(accepted, order)]


def _has_accepted(accepted: Sequence[BreakAcceptance], order: OrderRecord) -> bool:
    symbol, at = order.request.symbol, order.updated_at
    return any(each.kind is BreakKind.OVERFILL and each.subject == symbol and each.at >= at for each in accepted)


def _overfill(desk: TradingDesk, order: OrderRecord) -> Finding:
    request = order.request
    detail = f"order {request.client_order_id} for {request.quantity} was filled with {order.filled_quantity}"
    found = Break(desk.account, request.symbol, BreakKind.OVERFILL, detail, request.quantity, order.filled_quantity)
    return Finding(found)


def _changed_instruments(
    desk: TradingDesk, planned: Mapping[str, Instrument], instruments: Mapping[str, Instrument] | None
) -> list[Finding]:
    """Return a break for each symbol whose steps are not those its orders were planned with."""
    if not planned:
        return []
    listed = desk.exchange.instruments() if instruments is None else instruments
    return [
        _changed(desk, before, listed.get(symbol))
        for symbol, before in sorted(planned.items())
        if _steps(before) != _steps(listed.get(symbol))
    ]


def _steps(instrument: Instrument | None) -> tuple[Decimal, Decimal] | None:
    return None if instrument is None else (instrument.price_tick, instrument.lot_step)


def _changed(desk: TradingDesk, before: Instrument, now: Instrument | None) -> Finding:
    was = f"price tick {before.price_tick.normalize():f} and lot step {before.lot_step.normalize():f}"
    present = "not listed" if now is None else f"{now.price_tick.normalize():f} and {now.lot_step.normalize():f}"
    detail = f"orders were planned with {was}; at the venue it is now {present}"
    found = Break(desk.account, before.symbol, BreakKind.INSTRUMENT_CHANGED, detail)
    return Finding(found, instrument=now)


def _sync(desk: TradingDesk, found: Sequence[Break]) -> tuple[tuple[Break, ...], tuple[Break, ...]]:
    """Open what was found and is not open; close what is open and was not found. Return both."""
    open_now = desk.supervision.open_breaks(desk.account)
    if not found and not open_now:
        return (), ()
    at: datetime = desk.clock.now()
    opened = tuple(each for each in found if desk.supervision.open_break(each, at))
    keys = {(each.subject, each.kind) for each in found}
    closed = tuple(each for each in open_now if each.kind not in _CLOSED_BY_HAND and (each.subject, each.kind) not in keys)
    for each in closed:
        desk.supervision.close_break(desk.account, each.subject, each.kind, at, "ledger and venue agree again")
    return opened, closed
