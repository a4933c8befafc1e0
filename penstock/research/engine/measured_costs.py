"""What an account's own orders cost, by instrument: fee, slippage, and how it grows with size.

Pure: penstock.pipeline.trading_costs reads the ledger and the bars. The ledger keeps no mid price
of the instant at which an order arrived. Slippage is measured against the price that the slot
decided with, so it contains what the market moved until the fill. That is noise around zero where
orders are many, and what a backtest that fills at an open assumes as well.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median

import numpy as np

from penstock.core.errors import DataError
from penstock.research.engine.costs import Costs, InstrumentRules

#: So many filled orders of an instrument are needed before its costs are proposed.
LEAST_ORDERS = 20
_BPS = 1e4


@dataclass(frozen=True)
class FilledOrder:
    """One order with a fill.

    Raises DataError where a price or the quantity is not above zero: no cost can be told of it.
    """

    symbol: str
    """The symbol."""
    side: int
    """1 for a buy, -1 for a sell."""
    quantity: float
    """What was filled, in base units."""
    price: float
    """The mean price of its fills, in quote units."""
    decided_at: float
    """The price that it was decided with, in quote units."""
    fee: float | None
    """What was paid for it, in quote units; None where its asset has no known price."""
    volume_share: float | None = None
    """Its quantity over the volume of the bar it filled in; None where that is not known."""

    def __post_init__(self) -> None:
        for name in ("quantity", "price", "decided_at"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise DataError(
                    f"a filled order of {self.symbol} has {name} {value}: it must be above zero"
                )

    @property
    def notional(self) -> float:
        """Quantity times price, in quote units."""
        return self.quantity * self.price

    @property
    def slippage_bps(self) -> float:
        """How much worse than decided it filled, in basis points; below zero: better."""
        return self.side * (self.price / self.decided_at - 1) * _BPS


@dataclass(frozen=True)
class MeasuredCosts:
    """What the orders of one instrument cost. Amounts are in basis points of notional."""

    symbol: str
    """The symbol."""
    orders: int
    """The number of orders."""
    notional: float
    """Their notional, in quote units."""
    fee_bps: float | None
    """The median fee of an order: an account's tier is one rate. None where no fee is known."""
    slippage_bps: float
    """The mean slippage, weighted by notional."""
    slippage_error_bps: float | None
    """The standard error of that mean; None for one order."""
    half_spread_bps: float | None
    """What slippage is left at no size; None where no volume is known."""
    impact_bps: float | None
    """What is added by an order of a whole bar's volume: it grows with the root of the share."""


def measure_costs(orders: Iterable[FilledOrder]) -> tuple[MeasuredCosts, ...]:
    """Return what orders cost, one entry per symbol, sorted.

    Slippage is fitted as `half_spread + impact * sqrt(share of the bar's volume)`, both at least
    zero, by least squares weighted by notional. The square-root law: Almgren, Thum, Hauptmann and
    Li, Direct estimation of equity market impact, Risk 18(7), 2005.

    >>> sold = FilledOrder("A/USDT", -1, 2.0, 99.9, 100.0, fee=0.1998)
    >>> (found,) = measure_costs([sold])
    >>> round(found.slippage_bps, 6), round(found.fee_bps, 6), found.impact_bps
    (10.0, 10.0, None)
    """
    by_symbol = sorted(orders, key=lambda order: order.symbol)
    return tuple(
        _measured(symbol, list(group))
        for symbol, group in groupby(by_symbol, key=lambda order: order.symbol)
    )


def _measured(symbol: str, orders: Sequence[FilledOrder]) -> MeasuredCosts:
    weights = np.array([order.notional for order in orders])
    slippage = np.array([order.slippage_bps for order in orders])
    mean = float(np.average(slippage, weights=weights))
    fees = [order.fee / order.notional * _BPS for order in orders if order.fee is not None]
    sized = [order for order in orders if order.volume_share is not None]
    spread, impact = _spread_and_impact(sized) if len(sized) > 1 else (None, None)
    return MeasuredCosts(
        symbol=symbol,
        orders=len(orders),
        notional=float(weights.sum()),
        fee_bps=median(fees) if fees else None,
        slippage_bps=mean,
        slippage_error_bps=_error_of_mean(slippage, weights, mean),
        half_spread_bps=spread,
        impact_bps=impact,
    )


def _error_of_mean(values: np.ndarray, weights: np.ndarray, mean: float) -> float | None:
    """Return the standard error of a weighted mean; None where there is one value.

    sqrt(n / (n - 1) sum(w^2 (x - mean)^2)) / sum(w): Cochran, Sampling techniques, 1977, for the
    ratio of two sums.
    """
    n = len(values)
    if n < 2:
        return None
    spread = float((weights**2 * (values - mean) ** 2).sum())
    return math.sqrt(n / (n - 1) * spread) / float(weights.sum())


def _spread_and_impact(orders: Sequence[FilledOrder]) -> tuple[float, float]:
    weights = np.array([order.notional for order in orders])
    slippage = np.array([order.slippage_bps for order in orders])
    root = np.sqrt([order.volume_share or 0.0 for order in orders])
    slip, size = (float(np.average(each, weights=weights)) for each in (slippage, root))
    spread_of_sizes = float(np.average((root - size) ** 2, weights=weights))
    impact = 0.0
    if spread_of_sizes > 0:
        together = float(np.average((root - size) * (slippage - slip), weights=weights))
        impact = max(together / spread_of_sizes, 0.0)
    if slip - impact * size >= 0 or size == 0:
        return max(slip - impact * size, 0.0), impact
    squares = float(np.average(root**2, weights=weights))
    return 0.0, max(float(np.average(root * slippage, weights=weights)) / squares, 0.0)


def proposed_costs(
    costs: Costs, measured: Sequence[MeasuredCosts], least_orders: int = LEAST_ORDERS
) -> Costs:
    """Return the costs with what was measured of each instrument that has orders enough.

    Slippage below zero is luck, and is proposed as zero. Rules of instruments stay as they are.
    """
    own = {each.symbol: each for each in costs.instruments}
    for found in measured:
        if found.orders < least_orders:
            continue
        rules = own.get(found.symbol, InstrumentRules(symbol=found.symbol))
        fee = rules.fee_bps if found.fee_bps is None else round(max(found.fee_bps, 0.0), 2)
        slippage = round(max(found.slippage_bps, 0.0), 2)
        own[found.symbol] = rules.model_copy(update={"fee_bps": fee, "slippage_bps": slippage})
    return costs.model_copy(update={"instruments": tuple(own.values())})


@dataclass(frozen=True)
class LiveCosts:
    """What an account's orders cost against what a backtest assumes, in basis points."""

    orders: int
    """The number of orders."""
    paid_bps: float
    """Fee and slippage over notional. Where no fee is known the assumed one counts."""
    error_bps: float
    """The standard error of it."""
    assumed_bps: float
    """Fee and slippage that a backtest takes for the same orders."""

    @property
    def exceeds(self) -> bool:
        """Whether orders cost more than assumed, beyond two standard errors."""
        return self.paid_bps - 2 * self.error_bps > self.assumed_bps


def live_costs(
    measured: Sequence[MeasuredCosts], costs: Costs, least_orders: int = LEAST_ORDERS
) -> LiveCosts | None:
    """Return what all instruments together cost, by notional; None where orders are too few."""
    known = [each for each in measured if each.slippage_error_bps is not None]
    orders = sum(each.orders for each in known)
    if orders < least_orders:
        return None
    own = {each.symbol: each for each in costs.instruments}
    total = sum(each.notional for each in known)
    paid, assumed, variance = 0.0, 0.0, 0.0
    for each in known:
        share = each.notional / total
        rules = own.get(each.symbol, InstrumentRules(symbol=each.symbol))
        fee = costs.fee_bps if rules.fee_bps is None else rules.fee_bps
        slippage = costs.slippage_bps if rules.slippage_bps is None else rules.slippage_bps
        paid += share * (each.slippage_bps + (fee if each.fee_bps is None else each.fee_bps))
        assumed += share * (fee + slippage)
        variance += (share * (each.slippage_error_bps or 0.0)) ** 2
    return LiveCosts(orders, paid, math.sqrt(variance), assumed)
