"""The public trades of the practice exchange, made from its closed candles.

A candle says nothing of single trades. Four are made of each, at its open, its low, its high and
its close, with a quarter of the volume each. So whoever builds candles from trades gets those of
the exchange. The orders of accounts are not among them.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from penstock.core.instruments import Instrument
from penstock.practice.binance_json import Json, text
from penstock.practice.market import PracticeMarket
from penstock.practice.series import PracticeBar
from penstock.simulation.fill_model import decimal_of

#: Four ids fit into the shortest bar, a minute. So an id says when its bar opened.
_ID_MS = 15_000
_PER_BAR = 4
_SMALLEST = Decimal("1e-8")
_FOREVER = 2**62


class MarketTrade(NamedTuple):
    """A trade that everybody sees."""

    trade_id: int
    """Its number: later trades of a symbol have higher ones."""
    price: Decimal
    """Quote units per base unit."""
    quantity: Decimal
    """Base units."""
    at_ms: int
    """When it was made (ms since the epoch)."""
    is_buyer_maker: bool
    """Whether the seller took."""


def trades_of(bar: PracticeBar, step: int, instrument: Instrument) -> list[MarketTrade]:
    """Return the trades of a bar that is `step` milliseconds long; none without volume.

    The low comes before the high in a bar that rises, and after it in one that falls.
    """
    rises = bar.close >= bar.open
    path = (bar.open, *((bar.low, bar.high) if rises else (bar.high, bar.low)), bar.close)
    volume = decimal_of(bar.volume)
    quarter = instrument.round_lots(volume / _PER_BAR) or (volume / _PER_BAR).quantize(_SMALLEST)
    made = []
    for number, price in enumerate(path):
        quantity = quarter if number < _PER_BAR - 1 else volume - quarter * (_PER_BAR - 1)
        at_ms = bar.ts + min(number * step // (_PER_BAR - 1), step - 1)
        before = path[max(0, number - 1)]
        identity = bar.ts // _ID_MS + number
        made.append(MarketTrade(identity, decimal_of(price), quantity, at_ms, price < before))
    return [trade for trade in made if trade.quantity > 0]


def market_trades(
    market: PracticeMarket,
    instrument: Instrument,
    now: int,
    *,
    limit: int,
    from_id: int | None = None,
    start: int | None = None,
    end: int | None = None,
) -> list[MarketTrade]:
    """Return up to `limit` trades of the bars that have closed by `now`, sorted by id.

    They are the first from `from_id` or `start` on, or else the latest; none is later than `end`.
    """
    by_timeframe = market.table[instrument.symbol]
    series = by_timeframe[min(by_timeframe, key=lambda t: t.seconds)]
    step = min(t.seconds for t in by_timeframe) * 1000
    now = min(now, market.suspended.get(instrument.symbol, now))
    closed = now - step + 1
    bars = limit // _PER_BAR + 2
    if from_id is not None or start is not None:
        first = from_id // _PER_BAR * _PER_BAR * _ID_MS if from_id is not None else start
        assert first is not None
        found = series.page(first if from_id is not None else first - step + 1, closed, bars)
    else:
        found = series.last(min(closed, closed if end is None else end + 1), bars)
    made = [
        trade
        for number in range(len(found))
        for trade in trades_of(found[number], step, instrument)
        if trade.trade_id >= (from_id or 0)
        and (start or 0) <= trade.at_ms <= (_FOREVER if end is None else end)
    ]
    return made[:limit] if from_id is not None or start is not None else made[-limit:]


def trade_row(trade: MarketTrade) -> Json:
    """Return a trade as trades and historicalTrades show it."""
    return {
        "id": trade.trade_id,
        "price": text(trade.price),
        "qty": text(trade.quantity),
        "quoteQty": text(trade.price * trade.quantity),
        "time": trade.at_ms,
        "isBuyerMaker": trade.is_buyer_maker,
        "isBestMatch": True,
    }


def aggregate_row(trade: MarketTrade) -> Json:
    """Return a trade as aggTrades shows it: each is one of its own."""
    return {
        "a": trade.trade_id,
        "p": text(trade.price),
        "q": text(trade.quantity),
        "f": trade.trade_id,
        "l": trade.trade_id,
        "T": trade.at_ms,
        "m": trade.is_buyer_maker,
        "M": True,
    }


def average_price(trades: Sequence[MarketTrade]) -> Decimal | None:
    """Return the trades' average price by volume; None without trades."""
    volume = sum((trade.quantity for trade in trades), Decimal(0))
    if not volume:
        return None
    return sum((trade.quantity * trade.price for trade in trades), Decimal(0)) / volume
