"""The oracle of the kernel: an account in Decimal, one order after the other, with fifty digits."""

from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal, localcontext

import numpy as np

from penstock.research.engine.costs import Costs, InstrumentRules
from penstock.research.engine.market import BarMatrices, Matrix

ZERO = Decimal(0)
#: An order of less than this fraction of equity is rounding; this few base units are none.
DUST = Decimal("1e-12")
NEAR, HALF, ONE = Decimal("1e-9"), Decimal("0.5"), Decimal(1)


def _stated(value: float) -> Decimal:
    """Return a configured value as it is written: 0.1 is a tenth."""
    return Decimal(repr(float(value)))


def _whole(count: Decimal) -> Decimal:
    """Return a count rounded down. A float price or amount is off by a hair: what is that near to a
    whole count is it.
    """
    return (count + NEAR + abs(count) * NEAR / 10_000).to_integral_value(ROUND_FLOOR)


@dataclass
class NaiveAccount:
    """One account; `run` takes it through all bars."""

    market: BarMatrices
    weights: Matrix
    costs: Costs
    cash: Decimal
    equity: list[float] = field(default_factory=list)
    orders: int = 0
    reduced: int = 0
    unfilled: Decimal = ZERO
    traded: Decimal = ZERO

    def __post_init__(self) -> None:
        bars, symbols = self.market.close.shape
        self.fills = np.zeros((bars, symbols))
        self.units = [ZERO] * symbols
        self.price = [ZERO] * symbols
        self.pending: list[Decimal | None] = [None] * symbols
        known = {each.symbol: each for each in self.costs.instruments}
        self.rules = [known.get(s, InstrumentRules(symbol=s)) for s in self.market.symbols]

    def run(self) -> "NaiveAccount":
        with localcontext() as context:
            context.prec = 50
            for t in range(len(self.market.close)):
                self._bar(t)
        return self

    def _bar(self, t: int) -> None:
        m, columns = self.market, range(len(self.units))
        for k in columns:
            if m.ends is not None and m.ends[k] == t:
                self.cash += self.units[k] * self.price[k] * _stated(self.costs.value_at_end)
                self.units[k], self.pending[k] = ZERO, None
            if t > 0 and not np.isnan(self.weights[t - 1, k]):
                self.pending[k] = Decimal(self.weights[t - 1, k])
        if any(weight is not None for weight in self.pending):
            for k in columns:
                if m.open[t, k] > 0:
                    self.price[k] = Decimal(m.open[t, k])
            self._trade(t, [k for k in columns if self._tradable(t, k)])
        for k in columns:
            if m.close[t, k] > 0:
                self.price[k] = Decimal(m.close[t, k])
            if m.cash_flows is not None:
                self.cash += self.units[k] * Decimal(m.cash_flows[t, k])
        self.equity.append(float(self._equity()))

    def _equity(self) -> Decimal:
        return self.cash + sum((u * p for u, p in zip(self.units, self.price, strict=True)), ZERO)

    def _tradable(self, t: int, k: int) -> bool:
        volume = self.market.volume
        return bool(self.market.open[t, k] > 0 and (volume is None or volume[t, k] > 0))

    def _trade(self, t: int, tradable: list[int]) -> None:
        equity = self._equity()
        due = {k: weight for k in tradable if (weight := self.pending[k]) is not None}
        for k in due:
            self.pending[k] = None
        held = sum(
            (
                abs(u * p)
                for k, (u, p) in enumerate(zip(self.units, self.price, strict=True))
                if k not in due
            ),
            ZERO,
        )
        asked = sum((abs(weight) for weight in due.values()), ZERO)
        scale = Decimal(1)
        if (
            equity > 0
            and held > 0
            and asked > 0
            and asked * equity + held > equity * (1 + Decimal("1e-9"))
        ):
            scale = max(equity - held, ZERO) / (asked * equity)
            self.reduced += 1
        wanted = {
            k: w for k, weight in due.items() if (w := self._wanted(k, weight * scale, equity))
        }
        sizes = {k: size for k, (size, _) in wanted.items()}
        for k in sorted(k for k, size in sizes.items() if size < 0):
            self._fill(t, k, sizes[k], equity)
        buys = [k for k, size in sizes.items() if size > 0]
        for k in sorted(buys, key=lambda k: (wanted[k][1], k)):
            self._fill(t, k, sizes[k], equity)

    def _wanted(self, k: int, weight: Decimal, equity: Decimal) -> tuple[Decimal, Decimal] | None:
        """Return size and value of the order that a weight means, before lots and volume."""
        value = weight * max(equity, ZERO) - self.units[k] * self.price[k]
        band = _stated(self.costs.no_trade_band) * equity
        if abs(value) <= DUST * abs(equity) or (weight and abs(value) < band):
            return None
        return value / self.price[k], value

    def _fill(self, t: int, k: int, wanted: Decimal, equity: Decimal) -> None:
        size = self._legal(k, wanted)
        share, volume = self.costs.max_volume_share, self.market.volume
        if share is not None and volume is not None:
            most = _stated(share) * Decimal(volume[t, k])
            if abs(size) > most:
                cut = self._lots(k, most).copy_sign(size)
                self.unfilled += abs(size - cut) * self.price[k]
                size = cut
        price, fee = self._fill_price(k, size), self._bps("fee_bps", k)
        if size > 0 and size * price * (1 + fee) > self.cash:
            if self.cash <= DUST * abs(equity):
                return
            size = self._legal(k, self.cash / (1 + fee) / price)
        if abs(size) <= DUST:
            return
        self.cash -= size * price + abs(size) * price * fee
        self.units[k] += size
        self.fills[t, k] = float(size)
        self.orders += 1
        self.traded += abs(size) * price

    def _bps(self, name: str, k: int) -> Decimal:
        own = getattr(self.rules[k], name)
        return _stated(getattr(self.costs, name) if own is None else own) / 10_000

    def _fill_price(self, k: int, size: Decimal) -> Decimal:
        price, tick = self.price[k], _stated(self.rules[k].price_tick)
        ticks = self.market.price_ticks
        step = tick or (ZERO if ticks is None else _stated(ticks[k]))
        slip = max(
            price * self._bps("slippage_bps", k), step * _stated(self.costs.min_slippage_ticks)
        )
        slip = min(slip, price)
        if not tick:
            return price + slip if size > 0 else price - slip
        if size > 0:
            return max(_whole((price + slip) / tick + HALF), -_whole(-price / tick)) * tick
        steps = min(_whole((price - slip) / tick + HALF), _whole(price / tick))
        return min(max(steps, ONE) * tick, price)

    def _lots(self, k: int, quantity: Decimal) -> Decimal:
        lot = _stated(self.rules[k].lot_step)
        return quantity if not lot else _whole(quantity / lot) * lot

    def _legal(self, k: int, size: Decimal) -> Decimal:
        rules, quantity = self.rules[k], self._lots(k, abs(size))
        least = _stated(max(rules.min_notional, self.costs.min_notional))
        most_off = 1 - NEAR
        if quantity < _stated(rules.min_quantity) * most_off:
            return ZERO
        if quantity * self.price[k] < least * most_off:
            return ZERO
        return quantity.copy_sign(size)
