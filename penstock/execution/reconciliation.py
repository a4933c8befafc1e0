"""Ledger against venue: balances, trades and open orders. A difference opens a break, which locks its instrument only.

A break closes by itself when both agree again. Our own trades that the ledger lacks are booked on the spot.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from penstock.core.accounts import Break, BreakKind, OrderRecord
from penstock.core.errors import IllegalTransitionError, OrderNotFoundError, UnknownSymbolError
from penstock.core.instruments import Instrument
from penstock.core.orders import Fill, OrderReport, OrderState
from penstock.execution.desk import TradingDesk
from penstock.execution.following import TRADES_MARGIN
from penstock.execution.lease import LeaseKeeper

_ZERO = Decimal(0)
#: Breaks that a reconciliation finds again each time, and so may close.
_FOUND_HERE = (
    BreakKind.MISSING_FILL,
    BreakKind.MANUAL_TRADE,
    BreakKind.DEPOSIT,
    BreakKind.WITHDRAWAL,
    BreakKind.UNKNOWN_ORDER,
    BreakKind.ORDER_GONE,
)
#: More rebalances than an account will ever have.
_ALL = 10_000_000
OPENING_BALANCE = "opening balance"


@dataclass(frozen=True)
class Reconciliation:
    """What was compared and found. `breaks` are those open now, `balances` the venue's."""

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


def reconcile(desk: TradingDesk, keeper: LeaseKeeper, instruments: Mapping[str, Instrument] | None = None) -> Reconciliation:
    """Compare ledger and venue, book what is ours and missing, open and close breaks.

    An account that has never been rebalanced takes over what the venue has as its opening balances.
    """
    balances = dict(desk.exchange.balances())
    if not desk.ledger.rebalances(desk.account, limit=1):
        return _take_over(desk, keeper, balances)
    fills: list[Fill] = []
    found = _open_order_breaks(desk)
    differing = _differences(desk, balances)
    if differing:  # a venue's balances may lag behind its trades: look twice before saying so
        desk.pause(desk.policy.poll_seconds)
        balances = dict(desk.exchange.balances())
        differing = _differences(desk, balances)
    if differing:
        foreign, fills, refused = _trades_behind(desk, keeper, differing)
        found += refused + _manual_trades(desk, foreign)
        found += _transfers(desk, _differences(desk, balances, foreign), balances)
    opened, closed = _sync(desk, found)
    return Reconciliation(balances, tuple(desk.supervision.open_breaks(desk.account)), opened, closed, tuple(fills))


def _take_over(desk: TradingDesk, keeper: LeaseKeeper, balances: Mapping[str, Decimal]) -> Reconciliation:
    """Book the differences as opening balances; done again after a crash it books only what is lacking."""
    ledger = desk.ledger.positions(desk.account)
    opening = {asset: balances.get(asset, _ZERO) - ledger.get(asset, _ZERO) for asset in sorted({*balances, *ledger})}
    opening = {asset: quantity for asset, quantity in opening.items() if quantity}
    for asset, quantity in opening.items():
        desk.ledger.book_adjustment(keeper.lease, asset, quantity, OPENING_BALANCE, desk.clock.now())
    return Reconciliation(balances, tuple(desk.supervision.open_breaks(desk.account)), opening=opening)


def _differences(desk: TradingDesk, balances: Mapping[str, Decimal], foreign: Sequence[Fill] = ()) -> dict[str, Decimal]:
    """Return venue minus ledger by asset, less what `foreign` trades explain, where it is worth more than dust."""
    ledger = desk.ledger.positions(desk.account)
    explained: dict[str, Decimal] = {}
    for fill in foreign:
        for asset, change in changes_of(fill).items():
            explained[asset] = explained.get(asset, _ZERO) + change
    assets = sorted({*balances, *ledger, *explained})
    gaps = {asset: balances.get(asset, _ZERO) - ledger.get(asset, _ZERO) - explained.get(asset, _ZERO) for asset in assets}
    gaps = {asset: gap for asset, gap in gaps.items() if gap}
    if not gaps:
        return {}
    dust, prices = Decimal(str(desk.policy.dust_notional)), _prices(desk, gaps)
    return {asset: gap for asset, gap in gaps.items() if asset not in prices or abs(gap) * prices[asset] > dust}


def _prices(desk: TradingDesk, assets: Collection[str]) -> dict[str, Decimal]:
    """Return the price of each asset in quote units, where the venue has a market for it."""
    listed = desk.exchange.instruments()
    symbols = [f"{asset}/{desk.quote}" for asset in assets if f"{asset}/{desk.quote}" in listed]
    prices = desk.exchange.last_prices(symbols) if symbols else {}
    return {desk.quote: Decimal(1), **{symbol.split("/")[0]: price for symbol, price in prices.items()}}


def changes_of(fill: Fill) -> dict[str, Decimal]:
    """Return by how much a fill changes each asset's position: base, quote, and the fee in its own asset."""
    base, quote = fill.symbol.split("/")
    changes = {base: fill.side.sign * fill.quantity, quote: -fill.side.sign * fill.notional}
    changes[fill.fee_asset] = changes.get(fill.fee_asset, _ZERO) - fill.fee
    return changes


def _trades_behind(
    desk: TradingDesk, keeper: LeaseKeeper, differing: Collection[str]
) -> tuple[list[Fill], list[Fill], list[Break]]:
    """Look through the venue's trades in the differing assets: return the foreign ones, ours now booked, ours refused."""
    since = min(rebalance.slot for rebalance in desk.ledger.rebalances(desk.account, limit=_ALL))
    ours = {order.request.client_order_id for order in desk.ledger.orders(desk.account)}
    foreign: list[Fill] = []
    booked: list[Fill] = []
    refused: list[Break] = []
    for asset in sorted(set(differing) - {desk.quote}):
        known = {fill.trade_id for fill in desk.ledger.fills(desk.account, f"{asset}/{desk.quote}")}
        for fill in _venue_trades(desk, f"{asset}/{desk.quote}", since):
            if fill.trade_id in known:
                continue
            if fill.client_order_id not in ours:
                if fill.at >= since:  # what was traded before the first slot came in with the opening balances
                    foreign.append(fill)
                continue
            try:
                desk.ledger.book_fill(keeper.lease, fill)
                booked.append(fill)
            except IllegalTransitionError as refusal:
                detail = f"trade {fill.trade_id} of order {fill.client_order_id} cannot be booked: {refusal}"
                refused.append(Break(desk.account, fill.symbol, BreakKind.MISSING_FILL, detail, venue_value=fill.quantity))
    return foreign, booked, refused


def _venue_trades(desk: TradingDesk, symbol: str, since: datetime) -> Sequence[Fill]:
    try:
        return desk.exchange.fills(symbol, since - TRADES_MARGIN)
    except UnknownSymbolError:
        return []  # an asset without a market against the quote asset has no trades to explain it


def _manual_trades(desk: TradingDesk, foreign: Sequence[Fill]) -> list[Break]:
    """Return one break a symbol for trades that no order of ours made."""
    found: list[Break] = []
    for symbol in sorted({fill.symbol for fill in foreign}):
        trades = [fill for fill in foreign if fill.symbol == symbol]
        net = sum((fill.side.sign * fill.quantity for fill in trades), _ZERO)
        detail = f"{len(trades)} trades by someone else, net {net}, last {trades[-1].trade_id}"
        found.append(Break(desk.account, symbol, BreakKind.MANUAL_TRADE, detail, _ZERO, net))
    return found


def _transfers(desk: TradingDesk, differing: Mapping[str, Decimal], balances: Mapping[str, Decimal]) -> list[Break]:
    """Return a break for each asset whose difference no trade explains: more is a deposit, less a withdrawal."""
    ledger = desk.ledger.positions(desk.account)
    return [
        Break(
            desk.account,
            asset,
            BreakKind.DEPOSIT if gap > 0 else BreakKind.WITHDRAWAL,
            f"the venue has {abs(gap)} {asset} {'more' if gap > 0 else 'less'} than the ledger, and no trade explains it",
            ledger.get(asset, _ZERO),
            balances.get(asset, _ZERO),
        )
        for asset, gap in sorted(differing.items())
    ]


def _open_order_breaks(desk: TradingDesk) -> list[Break]:
    """Return a break for each order that works at the venue and not in the ledger, or the other way round."""
    working = {order.client_order_id: order for order in desk.exchange.open_orders()}
    unfinished = {order.request.client_order_id: order for order in desk.ledger.orders(desk.account, unfinished_only=True)}
    found = [_unknown_order(desk, report) for name, report in working.items() if name not in unfinished]
    gone = [order for name, order in unfinished.items() if name not in working and _gone(desk, order)]
    return found + [
        Break(
            desk.account,
            order.request.symbol,
            BreakKind.ORDER_GONE,
            f"order {order.request.client_order_id} is {order.state} in the ledger and unknown to the venue",
        )
        for order in gone
    ]


def _unknown_order(desk: TradingDesk, report: OrderReport) -> Break:
    detail = f"order {report.client_order_id or report.venue_order_id} works at the venue and not in the ledger"
    return Break(desk.account, report.symbol, BreakKind.UNKNOWN_ORDER, detail)


def _gone(desk: TradingDesk, order: OrderRecord) -> bool:
    if order.state in (OrderState.PLANNED, OrderState.SUBMITTING, OrderState.UNKNOWN):
        return False
    try:
        desk.exchange.find_order(order.request.client_order_id, order.request.symbol)
    except OrderNotFoundError:
        return True
    return False


def _sync(desk: TradingDesk, found: Sequence[Break]) -> tuple[tuple[Break, ...], tuple[Break, ...]]:
    """Open what was found and is not open; close what is open and was not found. Return both."""
    at = desk.clock.now()
    opened = tuple(each for each in found if desk.supervision.open_break(each, at))
    keys = {(each.subject, each.kind) for each in found}
    closed = tuple(
        each
        for each in desk.supervision.open_breaks(desk.account)
        if each.kind in _FOUND_HERE and (each.subject, each.kind) not in keys
    )
    for each in closed:
        desk.supervision.close_break(desk.account, each.subject, each.kind, at, "ledger and venue agree again")
    return opened, closed
