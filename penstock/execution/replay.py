"""What live trading should have come to: the live planner and review over bars, filled in Decimal as the practice venue does.

Nothing is simulated that live does otherwise: the same sells, then the same buys, at the open of the bar that begins at the
slot, commission truncated to eight decimals. The difference to a research backtest is then lot rounding, fees and the buffer.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from operator import itemgetter
from typing import Literal

import polars as pl

from penstock.core.accounts import Halt, TradingState
from penstock.core.drafts import DraftOrder, SeenBar
from penstock.core.instruments import Instrument
from penstock.core.orders import Side
from penstock.portfolio.rebalancing import Book, RebalancePolicy, plan_buys, plan_sells
from penstock.risk.limits import RiskLimits
from penstock.risk.review import review
from penstock.risk.rules import RiskContext

_ZERO = Decimal(0)
_EIGHT_PLACES = Decimal("1e-8")


@dataclass(frozen=True)
class VenueTerms:
    """What the venue takes. `fee_asset` "received": base on a buy, quote on a sell, as Binance does.

    `participation` is the share of a bar's volume that an order may take; None is no limit.
    """

    fee_bps: Decimal = Decimal(10)
    slippage_bps: Decimal = _ZERO
    fee_asset: Literal["received", "quote"] = "received"
    participation: float | None = 1.0


@dataclass(frozen=True)
class ReplayRow:
    """The account after one slot, valued at the slot's opens (quote units); fees and turnover are those of the slot.

    `positions` is what is held then, by asset.
    """

    slot: datetime
    equity: Decimal
    cash: Decimal
    fees: Decimal
    traded: Decimal
    orders: int
    positions: Mapping[str, Decimal]


@dataclass(frozen=True)
class Replay:
    """One row a slot, and what is held at the end, by asset."""

    rows: tuple[ReplayRow, ...]
    positions: Mapping[str, Decimal]

    @property
    def frame(self) -> pl.DataFrame:
        """Columns slot, equity, cash, fees, traded (float64, quote units) and orders."""
        return pl.DataFrame(
            {
                "slot": [row.slot for row in self.rows],
                **{name: [float(getattr(row, name)) for row in self.rows] for name in ("equity", "cash", "fees", "traded")},
                "orders": [row.orders for row in self.rows],
            }
        )


@dataclass(frozen=True)
class _Moment:
    """What is known at a slot: prices and the last bars seen by symbol, and the volume of the bars that begin there."""

    slot: datetime
    prices: Mapping[str, Decimal]
    seen: Mapping[str, SeenBar]
    volumes: Mapping[str, float]


def replay(
    bars: pl.DataFrame,
    targets: Mapping[datetime, Mapping[str, float | None]],
    policy: RebalancePolicy,
    instruments: Mapping[str, Instrument],
    initial_cash: Decimal,
    terms: VenueTerms | None = None,
    limits: RiskLimits | None = None,
) -> Replay:
    """Return the account after each slot of `targets` (weights by symbol, None holds), filled at the opens of `bars`.

    `bars` has BARS_SCHEMA; the bar that opens at a slot gives its price, and a symbol without one cannot trade then (it is
    valued at its last close). With `limits` every order is reviewed as live orders are.
    """
    account = _Account({policy.quote: initial_cash}, instruments, policy, terms or VenueTerms(), limits)
    rows = [account.rebalance(moment, targets[moment.slot]) for moment in _moments(bars, sorted(targets))]
    return Replay(tuple(rows), account.positions)


def _moments(bars: pl.DataFrame, slots: list[datetime]) -> Iterator[_Moment]:
    ordered = bars.sort("ts").select("symbol", "ts", "open", "close", "volume").rows()
    closes: dict[str, float] = {}
    at = 0
    for slot in slots:
        while at < len(ordered) and ordered[at][1] < slot:
            closes[ordered[at][0]] = ordered[at][3]
            at += 1
        end = bisect_right(ordered, slot, at, key=itemgetter(1))
        opening = ordered[at:end]
        prices = {**closes, **{row[0]: row[2] for row in opening}}
        yield _Moment(
            slot,
            {symbol: Decimal(f"{price:.8f}") for symbol, price in prices.items()},
            {symbol: SeenBar(slot, close) for symbol, close in closes.items()},
            {row[0]: row[4] for row in opening},
        )


@dataclass
class _Account:
    positions: dict[str, Decimal]
    instruments: Mapping[str, Instrument]
    policy: RebalancePolicy
    terms: VenueTerms
    limits: RiskLimits | None

    def rebalance(self, moment: _Moment, weights: Mapping[str, float | None]) -> ReplayRow:
        sells, _ = plan_sells(self._book(moment, weights))
        filled = self._fill_all(self._reviewed(sells, moment, weights), moment)
        rest = {**weights, **{order.symbol: None for order in sells}}
        buys, _ = plan_buys(self._book(moment, rest))
        filled += self._fill_all(self._reviewed(buys, moment, rest), moment)
        book = self._book(moment, weights)
        fees = sum((fee for _, fee in filled), _ZERO)
        traded = sum((notional for notional, _ in filled), _ZERO)
        return ReplayRow(moment.slot, book.equity, book.cash, fees, traded, len(filled), dict(self.positions))

    def _book(self, moment: _Moment, weights: Mapping[str, float | None]) -> Book:
        return Book(weights, dict(self.positions), moment.prices, self.instruments, self.policy)

    def _reviewed(self, orders: list[DraftOrder], moment: _Moment, weights: Mapping[str, float | None]) -> list[DraftOrder]:
        if self.limits is None:
            return orders
        book = self._book(moment, weights)
        active = Halt("replay", TradingState.ACTIVE, "", "", datetime.fromtimestamp(0, UTC))
        context = RiskContext(
            moment.slot, book.equity, book.positions, book.prices, self.instruments, moment.seen, active, self.policy.quote
        )
        return list(review(orders, context, self.limits).orders)

    def _fill_all(self, orders: list[DraftOrder], moment: _Moment) -> list[tuple[Decimal, Decimal]]:
        """Fill each order; return notional and fee, both in quote units, of those that traded."""
        return [filled for order in orders if (filled := self._fill(order, moment)) is not None]

    def _fill(self, order: DraftOrder, moment: _Moment) -> tuple[Decimal, Decimal] | None:
        if order.symbol not in moment.volumes:
            return None
        instrument, sign = self.instruments[order.symbol], order.side.sign
        price = moment.prices[order.symbol]
        if self.terms.slippage_bps:
            price = (price * (1 + sign * self.terms.slippage_bps / 10_000)).quantize(_EIGHT_PLACES)
        if order.side is Side.BUY and order.quantity * price > self.positions[self.policy.quote]:
            return None  # the venue refuses for lack of funds
        quantity = order.quantity
        if self.terms.participation is not None:
            share = Decimal(f"{moment.volumes[order.symbol] * self.terms.participation:.8f}")
            quantity = min(quantity, instrument.round_lots(share))
        in_quote = order.side is Side.SELL or self.terms.fee_asset == "quote"
        fee_rate = self.terms.fee_bps / 10_000
        fee = ((quantity * price if in_quote else quantity) * fee_rate).quantize(_EIGHT_PLACES, rounding=ROUND_DOWN)
        self._move(instrument.base, sign * quantity)
        self._move(instrument.quote, -sign * quantity * price)
        self._move(instrument.quote if in_quote else instrument.base, -fee)
        return quantity * price, fee if in_quote else fee * price

    def _move(self, asset: str, change: Decimal) -> None:
        self.positions[asset] = self.positions.get(asset, _ZERO) + change
