"""What each venue states of the largest order: in filters, or in fields that ccxt does not read."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from penstock.adapters.exchanges.venue_families import family_of
from penstock.core.order_limits import OrderLimits, PriceBand

Row = Mapping[str, Any]

#: OKX states notionals in USD and USDT. In another quote asset they bound nothing here.
_DOLLARS = frozenset({"USD", "USDT", "USDC"})


def largest_order(venue: str, market: Row) -> tuple[Decimal | None, OrderLimits]:
    """Return the largest quantity of any order of a ccxt market, and its limits by type.

    Raises ValueError (or what Decimal raises) where a bound is no number.
    """
    info: Row = market["info"] or {}
    match family_of(venue):
        case "binance":
            return _amount(market), _of_filters(info)
        case "okx":
            return _amount(market), _of_okx(info, str(market["quote"]))
        case "bybit":
            return _of_bybit(info)
    limits = market["limits"]
    notional = bound(limits.get("cost", {}).get("max"))
    at_market = bound(limits.get("market", {}).get("max"))
    return _amount(market), OrderLimits(at_market, notional, notional)


def bound(given: object) -> Decimal | None:
    """Return a bound; None where none is stated. Venues write 0 or "" for none."""
    if given is None or given == "":
        return None
    value = Decimal(str(given)).normalize()
    if not value.is_finite() or value < 0:
        raise ValueError(f"a bound of {given}")
    return value or None


def _amount(market: Row) -> Decimal | None:
    return bound(market["limits"]["amount"].get("max"))


def filters_of(info: Row) -> dict[str, Row]:
    """Return Binance's filters of a symbol by their type."""
    return {rule["filterType"]: rule for rule in info.get("filters", []) if "filterType" in rule}


def _of_filters(info: Row) -> OrderLimits:
    filters = filters_of(info)
    notional = filters.get("NOTIONAL", {})
    most = bound(notional.get("maxNotional"))
    return OrderLimits(
        market_quantity=bound(filters.get("MARKET_LOT_SIZE", {}).get("maxQty")),
        market_notional=most if notional.get("applyMaxToMarket") else None,
        limit_notional=most,
        position=bound(filters.get("MAX_POSITION", {}).get("maxPosition")),
        price_band=_price_band(filters),
    )


def _price_band(filters: Mapping[str, Row]) -> PriceBand | None:
    if (by_side := filters.get("PERCENT_PRICE_BY_SIDE")) is not None:
        names = ("bidMultiplierDown", "bidMultiplierUp", "askMultiplierDown", "askMultiplierUp")
        return PriceBand(*(Decimal(str(by_side[name])) for name in names))
    if (both := filters.get("PERCENT_PRICE")) is not None:
        lowest, highest = (Decimal(str(both[f"multiplier{way}"])) for way in ("Down", "Up"))
        return PriceBand(lowest, highest, lowest, highest)
    return None


def _of_okx(info: Row, quote: str) -> OrderLimits:
    """Return OKX's limits. `maxMktSz` of a spot market is in USDT, not in its base asset.

    The amounts are in USD, of which a unit of the quote asset is nearly one.
    """
    if quote not in _DOLLARS:
        return OrderLimits()
    at_market = [bound(info.get(name)) for name in ("maxMktSz", "maxMktAmt")]
    return OrderLimits(
        market_notional=min((each for each in at_market if each is not None), default=None),
        limit_notional=bound(info.get("maxLmtAmt")),
    )


def _of_bybit(info: Row) -> tuple[Decimal | None, OrderLimits]:
    """Return Bybit's limits. `maxOrderQty` and `maxOrderAmt` of spot markets are out of use."""
    sizes: Row = info.get("lotSizeFilter") or {}
    of_limit = bound(sizes.get("maxLimitOrderQty"))
    at_market = [bound(sizes.get(name)) for name in ("maxMarketOrderQty", "maxMktOrderQty")]
    return (
        of_limit or bound(sizes.get("maxOrderQty")),
        OrderLimits(market_quantity=min((q for q in at_market if q is not None), default=None)),
    )
