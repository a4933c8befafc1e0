"""What live trading should have come to: the live planner and review over bars, filled in Decimal
as the practice venue does.

Nothing is simulated that live does otherwise: the same sells, then the same buys, at the open of
the bar that begins at the slot, commission truncated to eight decimals. The difference to a
research backtest is then lot rounding, fees and the buffer.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from operator import itemgetter
from typing import Literal

import polars as pl

from penstock.core.halts import Halt, TradingState
from penstock.core.instruments import Instrument, holdings_by_symbol
from penstock.core.orders import Fill, Side
from penstock.core.proposals import ProposedOrder, SeenBar
from penstock.core.risk_records import RiskHistory
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import Book, RebalancePolicy, plan_buys, plan_sells
from penstock.risk.limits import RiskLimits
from penstock.risk.losses import breaches
from penstock.risk.memory import AccountMemory
from penstock.risk.protection import STOP_NAMES, advanced_marks, positions_to_close
from penstock.risk.review import review
from penstock.risk.rules import RiskContext, RuleFinding

_ZERO = Decimal(0)
_EIGHT_PLACES = Decimal("1e-8")


@dataclass(frozen=True)
class VenueTerms:
    """What the venue takes. `fee_asset` "received": base on a buy, quote on a sell, as Binance
    does.

    `participation` is the share of a bar's volume that an order may take; None is no limit.
    """

    fee_bps: Decimal = Decimal(10)
    slippage_bps: Decimal = _ZERO
    fee_asset: Literal["received", "quote"] = "received"
    participation: float | None = 1.0


@dataclass(frozen=True)
class ReplayRow:
    """The account after one slot, valued at the slot's opens (quote units); fees and turnover are
    those of the slot.

    `balances` is what is held then, by asset.
    """

    slot: datetime
    equity: Decimal
    cash: Decimal
    fees: Decimal
    traded: Decimal
    orders: int
    balances: Mapping[str, Decimal]


@dataclass(frozen=True)
class Replay:
    """One row a slot, and what is held at the end, by asset."""

    rows: tuple[ReplayRow, ...]
    balances: Mapping[str, Decimal]

    @property
    def frame(self) -> pl.DataFrame:
        """Columns slot, equity, cash, fees, traded (float64, quote units) and orders."""
        return pl.DataFrame(
            {
                "slot": [row.slot for row in self.rows],
                **{
                    name: [float(getattr(row, name)) for row in self.rows]
                    for name in ("equity", "cash", "fees", "traded")
                },
                "orders": [row.orders for row in self.rows],
            }
        )


@dataclass(frozen=True)
class _Moment:
    """What is known at a slot: prices and the last bars seen by symbol, and the volume of the bars
    that begin there.
    """

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
    decided: Mapping[datetime, PortfolioTargets] | None = None,
) -> Replay:
    """Return the account after each slot of `targets` (weights by symbol, None holds), filled at
    the opens of `bars`.

    `bars` has BARS_SCHEMA; the bar that opens at a slot gives its price, and a symbol without one
    cannot trade then (it is valued at its last close). With `limits` every order is reviewed as
    live orders are: losses, stops and paces of earlier slots are remembered. `decided` says what
    each strategy version asked for and saw, where that is known.
    """
    account = _Account(
        {policy.quote: initial_cash}, instruments, policy, terms or VenueTerms(), limits
    )
    known = decided or {}
    rows = [
        account.rebalance(
            moment,
            known.get(moment.slot)
            or PortfolioTargets("replay", targets[moment.slot], {}, moment.seen),
        )
        for moment in _moments(bars, sorted(targets))
    ]
    return Replay(tuple(rows), account.balances)


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


def _never_halted() -> AccountMemory:
    return AccountMemory(
        Halt("replay", TradingState.ACTIVE, "", "", datetime.fromtimestamp(0, UTC))
    )


@dataclass
class _Account:
    balances: dict[str, Decimal]
    instruments: Mapping[str, Instrument]
    policy: RebalancePolicy
    terms: VenueTerms
    limits: RiskLimits | None
    memory: AccountMemory = field(default_factory=_never_halted)

    def rebalance(self, moment: _Moment, decided: PortfolioTargets) -> ReplayRow:
        history, closing = self.memory.history(moment.slot), self._closing(moment, decided)
        stopped = {word.symbol: moment.slot for word in closing if word.rule in STOP_NAMES}
        weights = {**decided.weights, **dict.fromkeys((word.symbol for word in closing), 0.0)}
        targets = replace(decided, weights=weights)
        exits = frozenset(word.symbol for word in closing)
        sells, _ = plan_sells(self._book(moment, weights))
        filled = self._fill_all(self._reviewed(sells, moment, targets, history, exits), moment)
        rest = {**weights, **{order.symbol: None for order in sells}}
        buys, _ = plan_buys(self._book(moment, rest))
        traded = sum(
            (
                notional
                for _, notional in self.memory.trades[len(self.memory.trades) - len(filled) :]
            ),
            _ZERO,
        )
        later = replace(
            history,
            orders_last_minute=history.orders_last_minute + len(filled),
            orders_today=history.orders_today + len(filled),
            traded_last_hour=history.traded_last_hour + traded,
        )
        filled += self._fill_all(self._reviewed(buys, moment, targets, later, exits), moment)
        book = self._book(moment, weights)
        holdings = holdings_by_symbol(self.balances, self.policy.quote)
        self.memory.marks = advanced_marks(history.marks, holdings, moment.prices, stopped)
        self.memory.note(moment.slot, book.equity, decided.weights)
        fees = sum((fee for _, fee in filled), _ZERO)
        traded = sum((notional for notional, _ in filled), _ZERO)
        return ReplayRow(
            moment.slot, book.equity, book.cash, fees, traded, len(filled), dict(self.balances)
        )

    def _book(self, moment: _Moment, weights: Mapping[str, float | None]) -> Book:
        return Book(weights, dict(self.balances), moment.prices, self.instruments, self.policy)

    def _closing(self, moment: _Moment, targets: PortfolioTargets) -> tuple[RuleFinding, ...]:
        """Return the positions that risk closes at this slot; breached loss limits set the
        account's state first.
        """
        if self.limits is None:
            return ()
        context = self._context(moment, targets, self.memory.history(moment.slot), frozenset())
        self.memory.breach(breaches(context, self.limits), moment.slot)
        return positions_to_close(replace(context, halt=self.memory.halt), self.limits)

    def _reviewed(
        self,
        orders: list[ProposedOrder],
        moment: _Moment,
        targets: PortfolioTargets,
        history: RiskHistory,
        exits: frozenset[str],
    ) -> list[ProposedOrder]:
        if self.limits is None or not orders:
            return orders
        return list(
            review(orders, self._context(moment, targets, history, exits), self.limits).orders
        )

    def _context(
        self,
        moment: _Moment,
        targets: PortfolioTargets,
        history: RiskHistory,
        exits: frozenset[str],
    ) -> RiskContext:
        book = self._book(moment, targets.weights)
        return RiskContext(
            slot=moment.slot,
            equity=book.equity,
            positions=book.positions,
            prices=book.prices,
            instruments=self.instruments,
            seen=targets.seen,
            halt=self.memory.halt,
            weights=targets.weights,
            contributions=targets.contributions,
            quotas=targets.quotas,
            history=history,
            entries=self.memory.entry_prices,
            exits=exits,
        )

    def _fill_all(
        self, orders: list[ProposedOrder], moment: _Moment
    ) -> list[tuple[Decimal, Decimal]]:
        """Fill each order; return notional and fee, both in quote units, of those that traded."""
        return [filled for order in orders if (filled := self._fill(order, moment)) is not None]

    def _fill(self, order: ProposedOrder, moment: _Moment) -> tuple[Decimal, Decimal] | None:
        if order.symbol not in moment.volumes:
            return None
        instrument, sign = self.instruments[order.symbol], order.side.sign
        price = moment.prices[order.symbol]
        if self.terms.slippage_bps:
            price = (price * (1 + sign * self.terms.slippage_bps / 10_000)).quantize(_EIGHT_PLACES)
        if order.side is Side.BUY and order.quantity * price > self.balances[self.policy.quote]:
            return None  # the venue refuses for lack of funds
        quantity = order.quantity
        if self.terms.participation is not None:
            share = Decimal(f"{moment.volumes[order.symbol] * self.terms.participation:.8f}")
            quantity = min(quantity, instrument.round_lots(share))
        in_quote = order.side is Side.SELL or self.terms.fee_asset == "quote"
        fee_rate = self.terms.fee_bps / 10_000
        fee = ((quantity * price if in_quote else quantity) * fee_rate).quantize(
            _EIGHT_PLACES, rounding=ROUND_DOWN
        )
        self._move(instrument.base, sign * quantity)
        self._move(instrument.quote, -sign * quantity * price)
        self._move(instrument.quote if in_quote else instrument.base, -fee)
        self._remember(
            order,
            moment.slot,
            quantity,
            price,
            fee,
            instrument.quote if in_quote else instrument.base,
        )
        return quantity * price, fee if in_quote else fee * price

    def _remember(
        self,
        order: ProposedOrder,
        slot: datetime,
        quantity: Decimal,
        price: Decimal,
        fee: Decimal,
        fee_asset: str,
    ) -> None:
        self.memory.trades.append((slot, quantity * price))
        if self.limits is not None and self.limits.guards_positions:
            self.memory.filled(
                Fill("", "", order.symbol, order.side, quantity, price, fee, fee_asset, slot)
            )

    def _move(self, asset: str, change: Decimal) -> None:
        self.balances[asset] = self.balances.get(asset, _ZERO) + change
