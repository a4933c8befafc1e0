"""How a venue's listings are read, row by row.

A row that ccxt cannot read is left out. A row that is as it was is not read again: a slot asks for
all of them, and they rarely change.
"""

import re
from collections.abc import Callable
from typing import Any

import ccxt

from penstock.adapters.exchanges.ccxt_errors import NONSENSE

#: The call that lists all markets of Binance. Its answer has the time, within so many characters.
_MARKETS, _TIME, _HEAD = "/api/v3/exchangeInfo", re.compile(r'"serverTime":\d+'), 200
_NAMES = ("symbol", "instId", "name", "id")


class Listings:
    """Reads the listings of one ccxt client: it takes the place of the client's `parse_market` and
    `set_markets`.
    """

    def __init__(self, client: Any) -> None:
        self.left_out: dict[str, str] = {}
        """Why a row could not be read, by its name."""
        self._client = client
        self._parse, self._set = client.parse_market, client.set_markets
        self._read: dict[str, tuple[Any, Any]] = {}
        self._listed: list[Any] = []
        self._text: tuple[tuple[str, str], Any] = ("", ""), None
        client.parse_market = self.parsed
        client.set_markets = self.set_markets

    def of_answer(self, path: str, text: str, parse: Callable[[str], Any]) -> Any:
        """Return the parsed answer to a call. Of a list of markets that differs from the last one
        by its time alone, that is what was parsed then.
        """
        if path != _MARKETS:
            return parse(text)
        parts = _TIME.sub("", text[:_HEAD]), text[_HEAD:]
        before, found = self._text
        if parts != before:
            found = parse(text)
            self._text = parts, found
        return found

    def parsed(self, row: Any) -> Any:
        """Return ccxt's market of a row; None where the row cannot be read."""
        name = str(next((row[key] for key in _NAMES if key in row), row))
        before = self._read.get(name)
        if before is not None and (before[0] is row or before[0] == row):
            return before[1]
        try:
            market = self._parse(row)
        except (*NONSENSE, ccxt.BaseError) as error:
            self.left_out[name[:80]] = f"{type(error).__name__}: {error}"
            return None
        # What ccxt makes of a row may follow from what it has loaded: the first load is not kept.
        if self._client.markets:
            self._read[name] = row, market
        return market

    def set_markets(self, markets: Any, currencies: Any = None) -> Any:
        """Have ccxt list these markets, unless it lists exactly them already."""
        listed = list(markets)
        if not currencies and self._client.markets and _same(listed, self._listed):
            return self._client.markets
        self._listed = listed
        return self._set(markets, currencies)


def _same(some: list[Any], others: list[Any]) -> bool:
    """Return whether both lists have the very same objects."""
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))
