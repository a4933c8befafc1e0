"""How a day's volume is spread over its hours, from stored bars."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl

from penstock.core.timeframes import Timeframe
from penstock.ports import BarStore

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class VolumeProfile:
    """The mean volume by time of day."""

    buckets: tuple[float, ...]
    """Mean volumes (base units) of equally long parts of the UTC day, from midnight on."""

    @classmethod
    def of(cls, bars: pl.DataFrame, symbol: str, timeframe: Timeframe) -> "VolumeProfile":
        """Return the profile of a symbol's bars (BARS_SCHEMA, of `timeframe`).

        A time of day without a bar counts 0. A symbol without bars has a flat profile.
        """
        length = timeframe.seconds
        means = (
            bars.filter(pl.col("symbol") == symbol)
            .group_by((pl.col("ts").dt.epoch("s") % 86400 // length).alias("bucket"))
            .agg(pl.col("volume").mean())
        )
        volumes = dict(means.iter_rows())
        return cls(tuple(float(volumes.get(bucket) or 0.0) for bucket in range(86400 // length)))

    def shares(self, start: datetime, interval: timedelta, count: int) -> list[Decimal]:
        """Return the expected volume of `count` intervals from `start` on.

        Volume is even within a bucket, and the day repeats. Where no volume is expected, all
        intervals have the same share.
        """
        edges = [start + n * interval for n in range(count + 1)]
        volumes = [self._between(edges[n], edges[n + 1]) for n in range(count)]
        if not sum(volumes) > 0:
            return [Decimal(1)] * count
        return [Decimal(repr(volume)) for volume in volumes]

    def _between(self, start: datetime, end: datetime) -> float:
        length = _DAY / len(self.buckets)
        midnight = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        at, volume = start - midnight, 0.0
        until = end - midnight
        while at < until:
            bucket = at // length
            edge = min((bucket + 1) * length, until)
            volume += self.buckets[bucket % len(self.buckets)] * ((edge - at) / length)
            at = edge
        return volume


def flat_profile() -> VolumeProfile:
    """Return a profile with the same volume at all times."""
    return VolumeProfile((1.0,))


def stored_profile(
    store: BarStore, exchange: str, symbol: str, timeframe: Timeframe, before: datetime, days: int
) -> VolumeProfile:
    """Return the profile of the stored bars of the last `days` days before an instant."""
    bars = store.read_bars(exchange, timeframe, [symbol], before - days * _DAY, before)
    return VolumeProfile.of(bars, symbol, timeframe)
