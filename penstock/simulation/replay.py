"""The replay of decisions on bars: the live planner and review, without a venue.

Sells and then buys are planned and reviewed by the functions of live trading. They fill at the open
of the bar that begins at the slot, by penstock.simulation.fill_model. The difference to a research
backtest is lot rounding, fees and the no-trade band.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from operator import itemgetter
from types import MappingProxyType

import polars as pl

from penstock.core.accounting import effect_of, summed
from penstock.core.halts import Halt, TradingState
from penstock.core.instruments import Instrument, holdings_by_symbol
from penstock.core.orders import Fill
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
from penstock.simulation.fill_model import FillModel, decimal_of

_ZERO = Decimal(0)


@dataclass(frozen=True)
class ReplayRow:
    """The account after one slot. Amounts are in quote units."""

    slot: datetime
    """The slot."""
    equity: Decimal
    """Cash and positions, at the slot's opens."""
    cash: Decimal
    """The balance of the quote asset."""
    fees: Decimal
    """Fees paid in this slot; a fee in base at its fill's price."""
    traded: Decimal
    """Notional of this slot's fills."""
    orders: int
    """Orders that reached the market in this slot."""
    balances: Mapping[str, Decimal]
    """The balances after the slot, by asset."""


@dataclass(frozen=True)
class Replay:
    """The result of a replay."""

    rows: tuple[ReplayRow, ...]
    """One row per slot."""
    balances: Mapping[str, Decimal]
    """The balances at the end, by asset."""

    @property
    def frame(self) -> pl.DataFrame:
        """The rows as columns slot, equity, cash, fees, traded (float64, quote units), orders."""
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
    """What is known at a slot, by symbol."""

    slot: datetime
    """The slot."""
    prices: Mapping[str, Decimal]
    """The open of the bar that begins at the slot; without one, the last close."""
    seen: Mapping[str, SeenBar]
    """The last closed bar."""
    volumes: Mapping[str, float]
    """The volume of the bar that begins at the slot; symbols without one are absent."""


def replay(
    bars: pl.DataFrame,
    targets: Mapping[datetime, Mapping[str, float | None]],
    policy: RebalancePolicy,
    instruments: Mapping[str, Instrument],
    initial_cash: Decimal,
    fill_model: FillModel | None = None,
    limits: RiskLimits | None = None,
    decided: Mapping[datetime, PortfolioTargets] | None = None,
    doubts: Mapping[tuple[str, datetime], datetime] = MappingProxyType({}),
) -> Replay:
    """Return the account after each slot of `targets`.

    `bars` has BARS_SCHEMA. The bar that opens at a slot gives its price. A symbol without one
    cannot trade then and is valued at its last close. `targets` are weights by symbol; None keeps
    the position. With `limits` every order is reviewed as live orders are, with losses, stops and
    order counts of earlier slots. `decided` has what each strategy version asked for and saw, where
    that is known. `doubts` has the first slot that knew a bar, by symbol and open time, where it
    was in doubt before: until then the bar before it is the last one.
    """
    account = _Account(
        {policy.quote: initial_cash}, instruments, policy, fill_model or FillModel(), limits
    )
    known = decided or {}
    rows = [
        account.rebalance(
            moment,
            known.get(moment.slot)
            or PortfolioTargets("replay", targets[moment.slot], {}, moment.seen),
        )
        for moment in _moments(bars, sorted(targets), doubts)
    ]
    return Replay(tuple(rows), account.balances)


def _moments(
    bars: pl.DataFrame, slots: list[datetime], doubts: Mapping[tuple[str, datetime], datetime]
) -> Iterator[_Moment]:
    ordered = bars.sort("ts").select("symbol", "ts", "open", "close", "volume").rows()
    closes: dict[str, float] = {}
    late: list[tuple[datetime, str, float]] = []
    at = 0
    for slot in slots:
        while at < len(ordered) and ordered[at][1] < slot:
            symbol, ts, _, close, _ = ordered[at]
            at += 1
            known = doubts.get((symbol, ts), slot)
            if known <= slot:
                closes[symbol] = close
                late = [each for each in late if each[1] != symbol]
            else:
                late.append((known, symbol, close))
        closes |= {symbol: close for known, symbol, close in late if known <= slot}
        late = [each for each in late if each[0] > slot]
        end = bisect_right(ordered, slot, at, key=itemgetter(1))
        opening = ordered[at:end]
        prices = {**closes, **{row[0]: row[2] for row in opening}}
        yield _Moment(
            slot,
            {symbol: decimal_of(price) for symbol, price in prices.items()},
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
    fill_model: FillModel
    limits: RiskLimits | None
    memory: AccountMemory = field(default_factory=_never_halted)

    def rebalance(self, moment: _Moment, decided: PortfolioTargets) -> ReplayRow:
        history, closing = self.memory.history(moment.slot), self._closing(moment, decided)
        stopped = {each.symbol: moment.slot for each in closing if each.rule in STOP_NAMES}
        exits = frozenset(each.symbol for each in closing)
        weights = {**decided.weights, **dict.fromkeys(exits, 0.0)}
        targets = replace(decided, weights=weights)
        sells, _ = plan_sells(self._book(moment, weights, targets.budget))
        filled = self._fill_all(self._reviewed(sells, moment, targets, history, exits), moment)
        rest = {**weights, **{order.symbol: None for order in sells}}
        buys, _ = plan_buys(self._book(moment, rest, targets.budget))
        traded = sum((fill.notional for fill in filled), _ZERO)
        later = replace(
            history,
            orders_last_minute=history.orders_last_minute + len(filled),
            orders_today=history.orders_today + len(filled),
            traded_last_hour=history.traded_last_hour + traded,
        )
        filled += self._fill_all(self._reviewed(buys, moment, targets, later, exits), moment)
        book = self._book(moment, weights)
        held = holdings_by_symbol(self.balances, self.policy.quote)
        holdings = {symbol: units for symbol, units in held.items() if symbol not in book.crumbs}
        self.memory.marks = advanced_marks(history.marks, holdings, moment.prices, stopped)
        self.memory.note(moment.slot, book.equity, decided.weights)
        fees = sum((self._fee_in_quote(fill) for fill in filled), _ZERO)
        traded = sum((fill.notional for fill in filled), _ZERO)
        return ReplayRow(
            moment.slot, book.equity, book.cash, fees, traded, len(filled), dict(self.balances)
        )

    def _fee_in_quote(self, fill: Fill) -> Decimal:
        in_base = fill.fee_asset == self.instruments[fill.symbol].base
        return fill.fee * fill.price if in_base else fill.fee

    def _book(
        self, moment: _Moment, weights: Mapping[str, float | None], budget: float = 1.0
    ) -> Book:
        return Book(
            weights,
            dict(self.balances),
            moment.prices,
            self.instruments,
            self.policy,
            budget=budget,
        )

    def _closing(self, moment: _Moment, targets: PortfolioTargets) -> tuple[RuleFinding, ...]:
        """Return findings for the positions that risk closes at this slot.

        Breached loss limits set the trading state first.
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
            crumbs=book.crumbs,
            exits=exits,
        )

    def _fill_all(self, orders: list[ProposedOrder], moment: _Moment) -> list[Fill]:
        """Fill each order that can fill; return the fills."""
        return [fill for order in orders if (fill := self._fill(order, moment)) is not None]

    def _fill(self, order: ProposedOrder, moment: _Moment) -> Fill | None:
        """Fill one order; None where its bar has no volume or the funds are too small."""
        if order.symbol not in moment.volumes:
            return None
        instrument, model = self.instruments[order.symbol], self.fill_model
        price = model.taker_price(order.side, moment.prices[order.symbol], instrument.price_tick)
        asset, needed = model.spends(instrument, order.side, order.quantity, price)
        if needed > self.balances.get(asset, _ZERO):
            return None
        quantity = model.fillable(instrument, order.quantity, moment.volumes[order.symbol])
        if not quantity:
            return None
        fill = model.fill(instrument, order.side, quantity, price, at=moment.slot)
        changes = effect_of(fill, instrument.base, instrument.quote).balances
        self.balances = summed([self.balances, changes])
        self.memory.trades.append((moment.slot, fill.notional))
        if self.limits is not None and self.limits.guards_positions:
            self.memory.filled(fill)
        return fill
