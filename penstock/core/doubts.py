"""Bars that were in doubt at their close: nobody confirmed them until later.

Live trading did not know such a bar at its own slot. A backtest of the stored bars must not know it
then either.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from penstock.core.bars import TS
from penstock.core.strategy import Strategy
from penstock.core.timeframes import Timeframe


@dataclass(frozen=True, order=True)
class DoubtedBar:
    """A bar that was held back at its close, and stored later."""

    symbol: str
    """The symbol."""
    ts: datetime
    """The open time."""
    known_at: datetime
    """When it was stored."""

    def known_slot(self, timeframe: Timeframe) -> datetime:
        """Return the first slot that knew the bar.

        It is the last one that had begun when the bar was stored: a slot ingests before it decides.
        """
        return max(timeframe.floor(self.known_at), self.ts + timeframe.duration)


def known_then(
    bars: pl.DataFrame, doubts: Iterable[DoubtedBar], timeframe: Timeframe, slot: datetime
) -> pl.DataFrame:
    """Return `bars` (BARS_SCHEMA) without those that were still in doubt at `slot`."""
    unknown = [
        (each.symbol, each.ts) for each in doubts if each.ts < slot < each.known_slot(timeframe)
    ]
    if not unknown:
        return bars
    keys = pl.DataFrame(unknown, schema={"symbol": pl.String, "ts": TS}, orient="row")
    return bars.join(keys, on=["symbol", "ts"], how="anti", maintain_order="left")


def decide_as_known(
    strategy: Strategy, bars: pl.DataFrame, doubts: Sequence[DoubtedBar], timeframe: Timeframe
) -> pl.DataFrame:
    """Return the weights that `strategy` decided at each bar (WEIGHTS_SCHEMA), as it knew the bars.

    At a slot that did not know a bar, its symbol has no decision, and the others are decided
    without it. `bars` (BARS_SCHEMA) are sorted by symbol and ts. Raises StrategyError where the
    weights break their contract.
    """
    weights = strategy.decide(bars)
    for slot in _slots_in_doubt(bars, doubts, timeframe):
        bar = slot - timeframe.duration
        at = pl.col("ts") == pl.lit(bar).cast(TS)
        past = bars.filter(pl.col("ts") <= pl.lit(bar).cast(TS))
        again = strategy.decide(known_then(past, doubts, timeframe, slot)).filter(at)
        known = (
            weights.filter(at).select("symbol", "ts").join(again, on=["symbol", "ts"], how="left")
        )
        weights = pl.concat([weights.filter(~at), known])
    return weights.sort("symbol", "ts")


def _slots_in_doubt(
    bars: pl.DataFrame, doubts: Sequence[DoubtedBar], timeframe: Timeframe
) -> list[datetime]:
    """Return the slots that did not know a bar, up to the one that knew the symbol's next bar."""
    found: set[datetime] = set()
    for each in doubts:
        own = bars.filter(pl.col("symbol") == each.symbol, pl.col("ts") > pl.lit(each.ts).cast(TS))[
            "ts"
        ].min()
        last = each.known_slot(timeframe)
        if isinstance(own, datetime):
            last = min(last, own + timeframe.duration)
        slot = each.ts + timeframe.duration
        while slot < last:
            found.add(slot)
            slot += timeframe.duration
    return sorted(found)
