"""Bars that were in doubt at their close: nobody confirmed them until later.

Live trading did not know such a bar at its own slot. A backtest of the stored bars must not know it
then either.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from penstock.core.bars import TS
from penstock.core.named_indicators import Matrix
from penstock.core.panel import Panel
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


def decide_as_known(strategy: Strategy, panel: Panel, doubts: Sequence[DoubtedBar]) -> Matrix:
    """Return the weights that `strategy` decided at each bar, as it knew the bars then.

    They are of shape (bars, symbols). At a slot that did not know a bar, its symbol has no
    decision, and the others are decided without it. Raises StrategyError where the weights break
    their contract.
    """
    weights = strategy.weights(panel).copy()
    times, columns = panel.ts.to_list(), {name: k for k, name in enumerate(panel.symbols)}
    rows = {ts: row for row, ts in enumerate(times)}
    places = [
        (rows[each.ts], columns[each.symbol], each)
        for each in doubts
        if each.ts in rows and each.symbol in columns
    ]
    for slot in _slots_in_doubt(panel, places):
        row = rows.get(slot - panel.timeframe.duration)
        if row is None:  # no symbol has a bar to decide at
            continue
        unknown = np.zeros((row + 1, len(columns)), dtype=bool)
        for at, column, each in places:
            if each.ts < slot < each.known_slot(panel.timeframe):
                unknown[at, column] = True
        weights[row] = strategy.weights(panel.part(0, row + 1).without(unknown))[row]
    return weights


def _slots_in_doubt(panel: Panel, places: Sequence[tuple[int, int, DoubtedBar]]) -> list[datetime]:
    """Return the slots that did not know a bar, up to the one that knew the symbol's next bar."""
    found: set[datetime] = set()
    step = panel.timeframe.duration
    for row, column, each in places:
        following = np.flatnonzero(panel.present[row + 1 :, column])
        last = each.known_slot(panel.timeframe)
        if following.size:
            last = min(last, panel.ts[row + 1 + int(following[0])] + step)
        slot = each.ts + step
        while slot < last:
            found.add(slot)
            slot += step
    return sorted(found)
