"""The prices that an account's positions count with, each with its state.

What confirms a price is decided in penstock.core.valuation.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from penstock.core.errors import VenueError
from penstock.core.instruments import Instrument
from penstock.core.quotes import Quote
from penstock.core.valuation import (
    Price,
    PriceState,
    last_known_price,
    needs_quote,
    traded_price,
)
from penstock.execution.session import AccountSession


def read_prices(
    session: AccountSession,
    symbols: Collection[str],
    instruments: Mapping[str, Instrument],
    closes: Mapping[str, Decimal],
    tolerance: Decimal,
) -> dict[str, Price]:
    """Return the price of each symbol. One of which no price is known is absent.

    `instruments` are what the venue trades now. `closes` are the last closes that are known.
    Raises VenueUnavailableError where the last prices cannot be read.
    """
    traded = sorted(symbol for symbol in symbols if symbol in instruments)
    last = session.exchange.last_prices(traded) if traded else {}
    unread, quotes = _quotes(
        session,
        [each for each in traded if needs_quote(last.get(each), closes.get(each), tolerance)],
    )
    found = {
        symbol: traded_price(last.get(symbol), quotes.get(symbol), closes.get(symbol), tolerance)
        for symbol in traded
    }
    for symbol in sorted(symbol for symbol in symbols if symbol not in instruments):
        reference = closes.get(symbol) or _last_trade(session, symbol)
        found[symbol] = last_known_price(_shown(session, symbol), reference, tolerance)
    return {
        symbol: replace(price, reason=f"{price.reason}{unread}")
        if price.state is PriceState.IN_DOUBT
        else price
        for symbol, price in found.items()
        if price is not None
    }


def _quotes(session: AccountSession, symbols: Sequence[str]) -> tuple[str, Mapping[str, Quote]]:
    """Return the quotes, and why they cannot be read; closes alone confirm a price then."""
    if not symbols:
        return "", {}
    try:
        return "", session.exchange.quotes(symbols)
    except VenueError as error:
        return f" (quotes cannot be read: {error})", {}


def _shown(session: AccountSession, symbol: str) -> Decimal | None:
    """Return the last price of a symbol that is not traded; None where the venue shows none."""
    try:
        return session.exchange.last_prices([symbol]).get(symbol)
    except VenueError:  # it is delisted, or has another name
        return None


def _last_trade(session: AccountSession, symbol: str) -> Decimal | None:
    """Return the price of the account's newest trade in a symbol; None where it has none."""
    marks = session.control_store.trade_marks(session.account)
    since: datetime | None = next((mark.since for mark in marks if mark.symbol == symbol), None)
    if since is None:
        return None
    fills = session.ledger.fills(session.account, symbol, since)
    return fills[-1].price if fills else None
