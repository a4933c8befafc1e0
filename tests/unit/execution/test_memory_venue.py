"""The venue in memory answers for bars as every venue does."""

from datetime import timedelta

import pytest

from penstock.core.clock import SteppedClock
from penstock.core.errors import UnknownSymbolError
from penstock.core.timeframes import Timeframe
from penstock.testing.instruments import SLOT
from penstock.testing.memory_venue import MemoryVenue


def test_bars_open_from_since_up_to_now_and_carry_the_price() -> None:
    """At or after `since`, none of the future, no more than the limit; what is not listed is an
    error.
    """
    venue = MemoryVenue(SteppedClock(SLOT))
    symbol, price = next(iter(venue.prices.items()))
    hour = timedelta(hours=1)
    bars = venue.fetch_bars(symbol, Timeframe("1h"), SLOT - 3 * hour + timedelta(minutes=1), 10)
    assert bars["ts"].to_list() == [SLOT - 2 * hour, SLOT - hour, SLOT]
    assert set(bars["close"]) == {float(price)}
    assert venue.fetch_bars(symbol, Timeframe("1h"), SLOT - 9 * hour, 2).height == 2
    with pytest.raises(UnknownSymbolError, match="not listed"):
        venue.fetch_bars("GONE/USDT", Timeframe("1h"), SLOT, 1)
