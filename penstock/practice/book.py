"""The best bid and ask of the practice exchange, made from candles.

Candles have no spread. The fill model has one: bid and ask are where a seller and a buyer would
take now. Sizes are the volume of the last closed bar, because that of the open bar is not known
yet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.core.instruments import Instrument
from penstock.core.orders import Side
from penstock.core.quotes import Quote, two_sided
from penstock.practice.candle_pages import CandlePages
from penstock.practice.filters import SymbolRules
from penstock.practice.market import Listing, PracticeMarket
from penstock.simulation.fill_model import FillModel, decimal_of


@dataclass
class TopOfBook:
    """The best bid and ask of every listed symbol, and what tests change of public answers."""

    market: PracticeMarket
    """The candles."""
    rules: Mapping[str, SymbolRules]
    """The filters by Binance's symbol."""
    fill_model: FillModel = field(default_factory=FillModel)
    """How far bid and ask are from the last price."""
    shown: dict[str, Quote] = field(default_factory=dict)
    """Prices that a test sets in place of the candles', by Binance's symbol."""
    last: dict[str, str] = field(default_factory=dict)
    """Last prices that tickers print in place of the candles', by Binance's symbol. Any text."""
    late_ms: dict[str, int] = field(default_factory=dict)
    """How long after its close a candle is shown (milliseconds), by Binance's symbol; else at once
    and open."""
    candle_pages: CandlePages = field(default_factory=CandlePages)
    """How many candles one answer has."""

    def at(self, listing: Listing, now: int) -> Quote | None:
        """Return the best bid and ask at `now`; None where the market is closed or suspended."""
        if listing.symbol in self.market.suspended:
            return None
        shown = self.shown.get(listing.wire)
        return shown or book_at(
            self.market, self.rules[listing.wire].instrument, now, self.fill_model
        )


def book_at(
    market: PracticeMarket, instrument: Instrument, now: int, fill_model: FillModel
) -> Quote | None:
    """Return the best bid and ask at `now` (ms since the epoch), on the tick.

    None before the first bar and in an outage.
    """
    known = market.quote(instrument.symbol, now)
    if known is None or not known.is_open:
        return None
    last, tick = decimal_of(known.price), instrument.price_tick
    size = instrument.round_lots(decimal_of(market.last_closed_volume(instrument.symbol, known)))
    bid, ask = (fill_model.taker_price(side, last, tick) for side in (Side.SELL, Side.BUY))
    return two_sided(bid, ask, size, size)
