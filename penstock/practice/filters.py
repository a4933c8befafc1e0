"""The practice exchange's rules for an order's numbers: steps, minimums and maximums.

They come from a real exchangeInfo answer where one is given. Else they are derived from the
candles. The lot step is then a power of ten and worth between 0.1 and 1 quote unit. The tick is the
largest power of ten that divides all prices. Either is large enough for amounts of eight decimals.
"""

import gzip
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from penstock.core.errors import DataError
from penstock.core.instruments import Instrument
from penstock.core.order_limits import OrderLimits, PriceBand
from penstock.core.orders import Side
from penstock.practice.binance_errors import PracticeRefusal, filter_failure
from penstock.practice.candles import CandleTable
from penstock.practice.market import Listing
from penstock.practice.series import BarSeries

#: The fields of PERCENT_PRICE_BY_SIDE, in the order of PriceBand's.
BAND_FIELDS = ("bidMultiplierDown", "bidMultiplierUp", "askMultiplierDown", "askMultiplierUp")
_MAX_NOTIONAL = Decimal(9_000_000)
_MAX_STOPS = 5
_FAR = 2**62
_SAMPLE = 20_000
_STABLE_QUOTES = frozenset({"USDT", "USDC", "BUSD", "FDUSD", "TUSD", "USD", "EUR"})


@dataclass(frozen=True)
class SymbolRules:
    """One symbol's filters."""

    instrument: Instrument
    """The symbol with its steps and minimums."""
    max_price: Decimal
    """The highest limit price (quote units)."""
    max_quantity: Decimal
    """The largest quantity (base units)."""
    max_stops: int = _MAX_STOPS
    """The most stop orders of the symbol that an account may have at work."""

    def check_quantity(self, quantity: Decimal, kind: str) -> None:
        """Raise PracticeRefusal for a quantity that the venue does not take in an order of a kind.

        The code is -1013 (LOT_SIZE, MARKET_LOT_SIZE) off the step or out of bounds, -1111 beyond
        eight decimals.
        """
        check_precision(quantity, "quantity")
        step, least = self.instrument.lot_step, self.instrument.min_quantity
        if quantity < least or quantity > self.max_quantity or quantity % step:
            raise filter_failure("LOT_SIZE")
        most = self.instrument.limits.market_quantity
        if kind == "MARKET" and most is not None and quantity > most:
            raise filter_failure("MARKET_LOT_SIZE")

    def check_price(self, price: Decimal, name: str = "price") -> None:
        """Raise -1013 PRICE_FILTER for a price off the tick or out of bounds; -1111 beyond eight
        decimals, where `name` is the parameter's.
        """
        check_precision(price, name)
        if price <= 0 or price > self.max_price or price % self.instrument.price_tick:
            raise filter_failure("PRICE_FILTER")

    def check_notional(self, notional: Decimal, is_market: bool) -> None:
        """Raise -1013 NOTIONAL where an order's notional (quote units) is out of bounds."""
        limits = self.instrument.limits
        most = limits.market_notional if is_market else limits.limit_notional
        if notional < self.instrument.min_notional or (most is not None and notional > most):
            raise filter_failure("NOTIONAL")

    def check_band(self, side: Side, limit: Decimal | None, last: Decimal) -> None:
        """Raise -1013 PERCENT_PRICE_BY_SIDE for a limit too far from the last price."""
        band = self.instrument.limits.price_band
        if band is None or limit is None:
            return
        lowest, highest = band.of(side)
        if not lowest * last <= limit <= highest * last:
            raise filter_failure("PERCENT_PRICE_BY_SIDE")

    def check_position(self, held: Decimal, buying: Decimal) -> None:
        """Raise -1013 MAX_POSITION where a buy and what is held or bought already are too much."""
        most = self.instrument.limits.position
        if most is not None and held + buying > most:
            raise filter_failure("MAX_POSITION")

    def check_stops(self, working: int) -> None:
        """Raise -1013 MAX_NUM_ALGO_ORDERS where so many stop orders of the symbol work already."""
        if working >= self.max_stops:
            raise filter_failure("MAX_NUM_ALGO_ORDERS")


def check_precision(value: Decimal, name: str) -> None:
    """Raise -1111 for a value of more than eight decimals."""
    if value != value.quantize(Decimal("1e-8")):
        raise PracticeRefusal(-1111, f"Parameter '{name}' has too much precision.")


def derive_rules(listing: Listing, series: BarSeries) -> SymbolRules:
    """Return rules that suit this history's prices."""
    prices = series.last(_FAR, _SAMPLE).values[:, :4]
    positive = prices[:, 3][prices[:, 3] > 0]
    magnitude = math.floor(math.log10(float(np.median(positive)))) if len(positive) else 0
    lot_step = Decimal(1).scaleb(min(0, -(magnitude + 1)))
    lot_step = max(lot_step, Decimal("1e-8"))
    instrument = Instrument(
        symbol=listing.symbol,
        base=listing.base,
        quote=listing.quote,
        price_tick=max(_tick(prices), _finest_tick(lot_step)),
        lot_step=lot_step,
        min_quantity=lot_step,
        min_notional=Decimal(5) if listing.quote in _STABLE_QUOTES else Decimal("0.0001"),
        max_quantity=lot_step * 10**9,
        limits=OrderLimits(limit_notional=_MAX_NOTIONAL),
    )
    return SymbolRules(instrument, Decimal(10) ** 6, lot_step * 10**9)


def _finest_tick(lot_step: Decimal) -> Decimal:
    """Return the tick at which a lot costs 1e-8: accounts show no smaller amount."""
    return Decimal("1e-8") / lot_step


def _tick(prices: np.ndarray) -> Decimal:
    """Return the largest power of ten, from 0.01 to 1e-8, that divides all prices."""
    for decimals in range(2, 8):
        scaled = prices * 10.0**decimals
        if np.allclose(scaled, np.rint(scaled), rtol=1e-12, atol=1e-6):
            return Decimal(1).scaleb(-decimals)
    return Decimal("1e-8")


def rules_of(
    table: CandleTable, listings: Mapping[str, Listing], exchange_info: Path | None
) -> dict[str, SymbolRules]:
    """Return the rules of every listed symbol, by Binance's symbol.

    They come from the exchangeInfo file where it has the symbol, else from the candles.
    """
    given = {} if exchange_info is None else _read_exchange_info(exchange_info)
    rules = {}
    for wire, listing in listings.items():
        if wire in given:
            rules[wire] = _rules_from_filters(listing, given[wire])
        else:
            series = table[listing.symbol]
            longest = max(series, key=lambda timeframe: timeframe.seconds)
            rules[wire] = derive_rules(listing, series[longest])
    return rules


def _read_exchange_info(path: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Return filters by symbol and filter type from an exchangeInfo answer (.json or .json.gz)."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        symbols = json.loads(raw)["symbols"]
        return {
            entry["symbol"]: {rule["filterType"]: rule for rule in entry["filters"]}
            for entry in symbols
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not an exchangeInfo answer ({error!r})") from None


def _rules_from_filters(listing: Listing, filters: dict[str, dict[str, str]]) -> SymbolRules:
    price, lot = filters["PRICE_FILTER"], filters["LOT_SIZE"]
    tick, lot_step = Decimal(price["tickSize"]), Decimal(lot["stepSize"])
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {"minNotional": "0"}
    instrument = Instrument(
        symbol=listing.symbol,
        base=listing.base,
        quote=listing.quote,
        price_tick=max(tick, _finest_tick(lot_step)).normalize(),
        lot_step=lot_step.normalize(),
        min_quantity=Decimal(lot["minQty"]).normalize(),
        min_notional=Decimal(notional["minNotional"]).normalize(),
        max_quantity=Decimal(lot["maxQty"]).normalize(),
        limits=_limits(filters, notional),
    )
    stops = int(filters.get("MAX_NUM_ALGO_ORDERS", {}).get("maxNumAlgoOrders", _MAX_STOPS))
    return SymbolRules(instrument, Decimal(price["maxPrice"]), Decimal(lot["maxQty"]), stops)


def _limits(filters: dict[str, dict[str, str]], notional: dict[str, str]) -> OrderLimits:
    """Return the limits by order type. A maximum of zero is none."""

    def bound(name: str, field: str) -> Decimal | None:
        return Decimal(filters.get(name, {}).get(field, "0")).normalize() or None

    most = Decimal(notional.get("maxNotional", "0")).normalize() or None
    band = filters.get("PERCENT_PRICE_BY_SIDE")
    return OrderLimits(
        market_quantity=bound("MARKET_LOT_SIZE", "maxQty"),
        market_notional=most if notional.get("applyMaxToMarket") else None,
        limit_notional=most,
        position=bound("MAX_POSITION", "maxPosition"),
        price_band=None if band is None else PriceBand(*(Decimal(band[n]) for n in BAND_FIELDS)),
    )
