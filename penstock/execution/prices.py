"""The prices that an account's positions count with, each with its state.

What confirms a price is decided in penstock.core.valuation.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from penstock.core.amounts import plain, to_step
from penstock.core.errors import ConfigError, VenueError
from penstock.core.instruments import Instrument
from penstock.core.orders import Fill
from penstock.core.quotes import Quote
from penstock.core.timeframes import Timeframe
from penstock.core.valuation import (
    Price,
    PriceState,
    last_known_price,
    needs_quote,
    traded_price,
)
from penstock.execution.session import AccountSession
from penstock.ports import EndedMarketData

#: So many daily bars are asked for where no decision saw a close.
_DAILY_BARS = 60
#: How long the account's own last trade stands for the price of what nobody shows a price of.
_TRADE_HOLDS = timedelta(days=2)


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
        shown, close = _shown(session, symbol), closes.get(symbol) or _last_bar(session, symbol)
        found[symbol] = (
            _by_the_last_trade(session, symbol, shown, tolerance)
            if close is None
            else last_known_price(shown, close, tolerance)
        )
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


def _last_bar(session: AccountSession, symbol: str) -> Decimal | None:
    """Return the close of the newest daily bar that the venue shows; None where it shows none."""
    venue, day = session.exchange, Timeframe.D1
    fetch = venue.fetch_ended_bars if isinstance(venue, EndedMarketData) else venue.fetch_bars
    since = day.floor(session.clock.now()) - _DAILY_BARS * day.duration
    try:
        closes = fetch(symbol, day, since, _DAILY_BARS + 1).sort("ts")["close"].drop_nulls()
    except (VenueError, ConfigError):  # it is delisted, or the venue has no daily bars
        return None
    close = Decimal(str(closes[-1])) if len(closes) else Decimal(0)
    return close if close.is_finite() and close > 0 else None


def _by_the_last_trade(
    session: AccountSession, symbol: str, shown: Decimal | None, tolerance: Decimal
) -> Price | None:
    """Return the price of a symbol that the venue does not trade and of which no close is known.

    The account's newest trade confirms what the venue shows as the last price. Alone it counts for
    two days. Nothing contradicts the last price of what the account never traded.
    """
    trade = _last_trade(session, symbol)
    if trade is None:
        return last_known_price(shown, None, tolerance)
    is_new = session.clock.now() - trade.at <= _TRADE_HOLDS
    found = last_known_price(shown, trade.price, tolerance)
    if found is None or found.value == shown or (shown is None and is_new):
        return found
    seen = "shows no price of it" if shown is None else f"shows {to_step(shown)} as its last price"
    reason = (
        f"the venue does not trade it now and {seen}; the account traded it at "
        f"{plain(trade.price)} on {trade.at:%F}, and no close is known"
    )
    return Price(trade.price if shown is None else shown, PriceState.IN_DOUBT, reason)


def _last_trade(session: AccountSession, symbol: str) -> Fill | None:
    """Return the account's newest trade in a symbol; None where it has none."""
    marks = session.control_store.trade_marks(session.account)
    since: datetime | None = next((mark.since for mark in marks if mark.symbol == symbol), None)
    if since is None:
        return None
    fills = session.ledger.fills(session.account, symbol, since)
    return fills[-1] if fills else None
