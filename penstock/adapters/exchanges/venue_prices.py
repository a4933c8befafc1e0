"""The last prices and the quotes in a venue's answers, of the symbols that are wanted alone."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import ccxt

from penstock.adapters.exchanges.answers import list_in
from penstock.adapters.exchanges.ccxt_values import decimal_of
from penstock.adapters.exchanges.venue_families import family_of
from penstock.core.quotes import Quote, two_sided

#: More symbols would make an address that is too long: all are asked for then.
_MOST_NAMED = 200
_SIDES = ("bid", "ask", "bidVolume", "askVolume")


def given_prices(client: Any, venue: str, symbols: list[str]) -> Mapping[str, object]:
    """Return the last prices as the venue gives them; None where it gives none."""
    if family_of(venue) == "binance":
        rows = _binance_rows(client, client.publicGetTickerPrice, symbols, "price")
        return {symbol: price for symbol, (price,) in rows.items()}
    if client.has.get("fetchLastPrices"):
        found, key = client.fetch_last_prices(symbols), "price"
    else:
        found, key = _tickers(client, symbols), "last"
    return {symbol: found[symbol].get(key) for symbol in symbols if symbol in found}


def given_quotes(client: Any, venue: str, symbols: list[str]) -> dict[str, Quote | None]:
    """Return the quotes from the venue's call for them, or else from its tickers."""
    found = None
    if client.has.get("fetchBidsAsks"):
        if family_of(venue) == "binance":
            ask, fields = client.publicGetTickerBookTicker, ("bidPrice", "askPrice")
            rows = _binance_rows(client, ask, symbols, *fields, "bidQty", "askQty")
            return {symbol: two_sided(*map(decimal_of, row)) for symbol, row in rows.items()}
        with suppress(ccxt.AuthenticationError):  # some venues have that call for accounts only
            found = client.fetch_bids_asks(symbols)
    found = _tickers(client, symbols) if found is None else found
    return {
        symbol: two_sided(*(decimal_of(found[symbol].get(side)) for side in _SIDES))
        for symbol in symbols
        if symbol in found
    }


def _tickers(client: Any, symbols: list[str]) -> Mapping[str, Any]:
    if client.has.get("fetchTickers"):
        tickers: Mapping[str, Any] = client.fetch_tickers(symbols)
        return tickers
    return {symbol: client.fetch_ticker(symbol) for symbol in symbols}


def _binance_rows(
    client: Any, ask: Callable[[dict[str, str]], Any], symbols: Sequence[str], *fields: str
) -> dict[str, tuple[str | None, ...]]:
    """Return these fields of the rows of `ask`'s answer, as text, by symbol.

    ccxt would read the last prices of all markets, and make twenty figures of each row. A field is
    None where it is missing, zero, or neither text nor a number. Where the venue refuses the list
    (one symbol of it is listed no more), it is asked for all: the others have their price. Raises
    ValueError where the answer is no list.
    """
    wanted = {str(client.market_id(symbol)): symbol for symbol in symbols}
    named = {"symbols": client.json(list(wanted))} if len(wanted) <= _MOST_NAMED else {}
    try:
        rows = list_in(ask(named))
    except ccxt.BadRequest:  # BadSymbol is one too
        rows = list_in(ask({}))
    found = ((wanted.get(client.safe_string(row, "symbol")), row) for row in rows)
    return {
        symbol: tuple(client.omit_zero(client.safe_string(row, field)) for field in fields)
        for symbol, row in found
        if symbol is not None
    }
