"""How a venue named a market that it lists no more, by how it names the ones that it lists."""

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.core.errors import UnknownSymbolError
from penstock.core.instruments import spot_assets


def ended_market(symbol: str, listed: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return ccxt's market of a spot symbol that is not among the `listed` markets.

    Most venues join base and quote, with a sign between them or without: the first market of the
    same quote shows how. Raises UnknownSymbolError where none does.

    >>> ended_market("OLD/USDT", [{"id": "BTC-USDT", "symbol": "BTC/USDT", "spot": True}])["id"]
    'OLD-USDT'
    """
    base, quote = spot_assets(symbol)
    for market in listed:
        if not market.get("spot") or "/" not in market["symbol"] or ":" in market["symbol"]:
            continue
        other, of = spot_assets(market["symbol"])
        wire = str(market["id"])
        if of == quote and wire.startswith(other) and wire.endswith(quote):
            name = base + wire[len(other) :]
            names = {"id": name, "symbol": symbol, "base": base, "baseId": base}
            return {**market, **names, "lowercaseId": name.lower(), "active": False, "info": {}}
    raise UnknownSymbolError(
        f"'{symbol}' is not listed, and no market against {quote} shows how it was named"
    )
