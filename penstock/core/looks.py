"""Looks at data: what was tried on which bars.

The best of many looks shows good figures by chance. So every look is on record, and two numbers
follow from the record. The first deflates a Sharpe ratio: the number of distinct configurations
that were ever tried on bars which overlap those in sample. The second is what was spent: how much
of the out-of-sample bars was seen, and how often.

A configuration is a strategy's source and parameters, whatever the strategy is called
(penstock.research.identity). The same again, on the same bars or on more of them, counts once.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from penstock.core.actors import Actor
from penstock.core.timeframes import Timeframe


class LookKind(StrEnum):
    """The ways of looking at bars."""

    SEARCH = "search"
    """Trials on the bars in sample."""
    BACKTEST = "backtest"
    """One simulation, of a notebook."""
    GATE = "gate"
    """A judgement on the bars out of sample."""


@dataclass(frozen=True)
class BarRange:
    """Bars of one venue and timeframe, from one open time to another."""

    venue: str
    """The venue's name."""
    timeframe: Timeframe
    """The bar length."""
    symbols: tuple[str, ...]
    """The symbols, sorted."""
    first: datetime
    """The open time of the first bar."""
    last: datetime
    """The open time of the last bar."""

    @property
    def end(self) -> datetime:
        """The close of the last bar."""
        return self.last + self.timeframe.duration

    def overlaps(self, other: "BarRange") -> bool:
        """Return whether both ranges contain the same bar.

        It is enough that they share one symbol. Bars of another timeframe are other bars.
        """
        return (
            (self.venue, self.timeframe) == (other.venue, other.timeframe)
            and not set(self.symbols).isdisjoint(other.symbols)
            and self.first < other.end
            and other.first < self.end
        )

    def share_seen(self, by: "BarRange") -> float:
        """Return the fraction of this range's time that `by` covers.

        A look at one symbol counts as a look at all.

        >>> from dataclasses import replace
        >>> from datetime import UTC, timedelta
        >>> start = datetime(2026, 1, 1, tzinfo=UTC)
        >>> day = timedelta(days=1)
        >>> window = BarRange("binance", Timeframe.D1, ("BTC/USDT",), start, start + 9 * day)
        >>> window.share_seen(replace(window, first=start + 8 * day, last=start + 99 * day))
        0.2
        """
        if not self.overlaps(by):
            return 0.0
        return (min(self.end, by.end) - max(self.first, by.first)) / (self.end - self.first)


@dataclass(frozen=True)
class Look:
    """Who looks at which bars, and what for."""

    kind: LookKind
    """The way."""
    bars: BarRange
    """The bars that are seen."""
    dataset_hash: str
    """The hash of the dataset that they are from."""
    about: str
    """What is tried: the names of the strategies."""
    by: Actor
    """Who looks."""
    at: datetime
    """When it began."""


@dataclass(frozen=True)
class RecordedLook:
    """A look as the journal has it."""

    look: Look
    configurations: int
    """The number of distinct configurations that were tried."""
    trials: int | None = None
    """The number of trials, repeats included; None where the look was not ended."""
    best: Mapping[str, float] = field(default_factory=dict)
    """The best figures, by name; empty where the look was not ended."""


@dataclass(frozen=True)
class LookCount:
    """What the journal has counted of a look."""

    on_these_bars: int
    """The number of distinct configurations that were ever tried on overlapping bars."""
    new: int
    """How many of them nobody had tried before."""


@dataclass(frozen=True)
class Exposure:
    """What was seen of a range of bars."""

    shares: Mapping[str, float]
    """The largest fraction of the range that one look has seen, by configuration."""
    seen_until: datetime | None
    """The end of the bars that any look has seen; None where there was no look."""

    def spent(self, candidate: str) -> float:
        """Return how many looks the range has had from others than `candidate`.

        A configuration that has seen a fifth of the range counts as a fifth: fresh bars restore
        what was spent. The candidate's own looks count once, with the one that is about to come.
        """
        # exactly rounded: the order of the looks may not change the sum
        return math.fsum(share for each, share in self.shares.items() if each != candidate)

    def fresh_share(self, bars: BarRange) -> float:
        """Return the fraction of `bars` that is newer than every look."""
        if self.seen_until is None:
            return 1.0
        fresh = (bars.end - max(self.seen_until, bars.first)) / (bars.end - bars.first)
        return min(max(fresh, 0.0), 1.0)


def exposure_of(bars: BarRange, looks: Iterable[tuple[BarRange, Iterable[str]]]) -> Exposure:
    """Return what looks have seen of `bars`: each is its range and its configurations."""
    shares: dict[str, float] = {}
    seen_until: datetime | None = None
    for seen, configurations in looks:
        share = bars.share_seen(seen)
        if not share:
            continue
        tried = set(configurations)
        if tried:
            seen_until = seen.end if seen_until is None else max(seen_until, seen.end)
        for each in tried:
            shares[each] = max(shares.get(each, 0.0), share)
    return Exposure(shares, seen_until)
