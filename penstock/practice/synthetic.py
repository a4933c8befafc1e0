"""Synthetic candles: the same for the same seed.

Hourly closes follow a factor common to all symbols and one of the symbol's own. Both have drifts
that last for weeks, and a volatility that changes slowly and is about 45% per year in all. Each
open is the close before. Minutes are drawn when they are read, as bridges within their hour. They
resample exactly to hours, and hours to days. A symbol's path depends on the seed, its name and the
start, and not on the other symbols.
"""

import math
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np

from penstock.core.errors import ConfigError
from penstock.core.instruments import spot_assets, spot_symbol
from penstock.core.timeframes import Timeframe
from penstock.practice.candles import CandleTable
from penstock.practice.series import BarArrays, BarSeries, Floats

_HOUR_MS, _DAY_MS, _MINUTE_MS = 3_600_000, 86_400_000, 60_000
_FIRST_PRICES = {
    "BTC": 42_000.0,
    "ETH": 2_300.0,
    "BNB": 310.0,
    "SOL": 100.0,
    "XRP": 0.6,
    "ADA": 0.55,
    "DOGE": 0.09,
}
_DAILY_VOLATILITY = 0.4 / math.sqrt(365)
# Trends last about two months and are stronger than any market's. A strategy that follows them
# passes the promotion gate, so that the demo can run on these candles.
_DAILY_DRIFT = 0.005
_REGIME_HOURS = 60 * 24
_HOURLY_TURNOVER = 1e8  # quote units

DEFAULT_SYMBOLS = tuple(
    spot_symbol(base, "USDT")
    for base in (
        "BTC",
        "ETH",
        "BNB",
        "SOL",
        "XRP",
        "ADA",
        "DOGE",
        "LTC",
        "LINK",
        "AVAX",
        "DOT",
        "TRX",
    )
)


@dataclass(frozen=True)
class SyntheticCandles:
    """Generated candles.

    Raises ConfigError where a time is not a whole UTC day, or the end is not after the start.
    """

    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    """The symbols to make candles of."""
    start: datetime = datetime(2022, 1, 1, tzinfo=UTC)
    """The first bar's open: a whole UTC day."""
    end: datetime = datetime(2025, 1, 1, tzinfo=UTC)
    """The last bar's close: a whole UTC day."""
    seed: int = 7
    """The seed of the random numbers."""
    minutes: bool = True
    """Whether there are bars shorter than an hour."""

    def __post_init__(self) -> None:
        for name, at in (("start", self.start), ("end", self.end)):
            if at.tzinfo is None or at.timestamp() % 86_400:
                raise ConfigError(f"synthetic candles: {name} {at} is not a whole UTC day")
        if self.end <= self.start:
            raise ConfigError(f"synthetic candles: end {self.end} is not after start {self.start}")

    def load(self) -> CandleTable:
        hours = int((self.end - self.start).total_seconds()) // 3600
        factor = _log_returns(
            np.random.default_rng([self.seed, 0]), hours, volatility=_DAILY_VOLATILITY * 0.7
        )
        table: dict[str, dict[Timeframe, BarSeries]] = {}
        for symbol in self.symbols:
            path = _Path(symbol, self.seed)
            hourly = path.hourly(round(self.start.timestamp() * 1000), factor)
            table[symbol] = {Timeframe.H1: hourly}
            if self.minutes:
                minutes = MinuteSeries(path, hourly)
                table[symbol][Timeframe.M1] = minutes
                for timeframe in (Timeframe.M5, Timeframe.M15, Timeframe.M30):
                    table[symbol][timeframe] = ResampledSeries(minutes, timeframe)
        return table


def _log_returns(rng: np.random.Generator, hours: int, volatility: float) -> Floats:
    """Return hourly log returns with trends and a slowly changing volatility.

    `volatility` is the daily one that it changes around.
    """
    switches = rng.random(hours) < 1 / _REGIME_HOURS
    direction = np.where((np.cumsum(switches) + rng.integers(2)) % 2 == 0, 1.0, -0.8)
    wave = np.convolve(
        rng.standard_normal(hours + 240), np.ones(241) / math.sqrt(241), mode="valid"
    )
    scale = volatility / math.sqrt(24) * np.exp(0.35 * wave)
    returns: Floats = (
        direction * _DAILY_DRIFT / 24 * 0.7 - scale**2 / 2 + scale * rng.standard_normal(hours)
    )
    return returns


@dataclass(frozen=True)
class _Path:
    """One symbol's randomness, price grid and lot."""

    symbol: str
    seed: int

    @property
    def key(self) -> int:
        return zlib.crc32(self.symbol.encode())

    @property
    def first_price(self) -> float:
        base, _ = spot_assets(self.symbol)
        return _FIRST_PRICES.get(base, float(f"{10 ** (self.key % 3000 / 1000 - 0.5):.3g}"))

    @property
    def decimals(self) -> int:
        """Decimals of the price grid: five significant digits or more at the first price."""
        return min(8, max(2, 4 - math.floor(math.log10(self.first_price))))

    @property
    def lot(self) -> float:
        return float(10.0 ** min(0, -(math.floor(math.log10(self.first_price)) + 1)))

    def rng(self, part: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.key, part])

    def hourly(self, start_ms: int, factor: Floats) -> BarArrays:
        """Return the hourly bars from `start_ms` on, one bar per entry of the common factor."""
        rng, hours = self.rng(0), len(factor)
        beta = 0.8 + 0.5 * rng.random()
        steps = beta * factor + _log_returns(rng, hours, volatility=_DAILY_VOLATILITY * 0.65)
        grid = 10.0**self.decimals
        closes = np.maximum(np.rint(self.first_price * np.exp(np.cumsum(steps)) * grid), 1.0) / grid
        opens = np.concatenate(([np.rint(self.first_price * grid) / grid], closes[:-1]))
        reach = np.abs(rng.standard_normal((2, hours))) * np.abs(steps).mean() * 0.6
        highs = np.ceil(np.maximum(opens, closes) * (1 + reach[0]) * grid - 1e-6) / grid
        lows = (
            np.maximum(np.floor(np.minimum(opens, closes) * np.exp(-reach[1]) * grid + 1e-6), 1.0)
            / grid
        )
        lots = np.rint(
            _HOURLY_TURNOVER * np.exp(0.6 * rng.standard_normal(hours)) / closes / self.lot
        )
        times = start_ms + _HOUR_MS * np.arange(hours, dtype=np.int64)
        return BarArrays(
            Timeframe.H1,
            times,
            np.column_stack((opens, highs, lows, closes, np.maximum(lots, 1) * self.lot)),
        )

    def day_of_minutes(self, hours: BarArrays) -> BarArrays:
        """Return the minutes of one day's hourly bars."""
        rng = self.rng(1 + int(hours.ts[0]) // _DAY_MS)
        count = len(hours)
        opened, high, low, closed, volume = (hours.values[:, [i]] for i in range(5))
        walk = np.cumsum(rng.standard_normal((count, 60)), axis=1)
        share = np.arange(1, 61) / 60
        bridge = (walk - walk[:, [-1]] * share) / math.sqrt(60)
        closes = np.clip(
            opened + (closed - opened) * share + bridge * (high - low) * 0.6, low, high
        )
        closes = np.round(closes, self.decimals)
        closes[:, -1] = closed[:, 0]
        opens = np.column_stack((opened[:, 0], closes[:, :-1]))
        reach = np.abs(rng.standard_normal((2, count, 60))) * (high - low) * 0.05
        highs = np.minimum(np.round(np.maximum(opens, closes) + reach[0], self.decimals), high)
        lows = np.maximum(np.round(np.minimum(opens, closes) - reach[1], self.decimals), low)
        rows = np.arange(count)
        highs[rows, highs.argmax(axis=1)] = high[:, 0]
        lows[rows, lows.argmin(axis=1)] = low[:, 0]
        weights = rng.gamma(2.0, size=(count, 60))
        lots = rng.multinomial(
            np.rint(volume[:, 0] / self.lot).astype(np.int64),
            weights / weights.sum(axis=1, keepdims=True),
        )
        times = (hours.ts[:, None] + _MINUTE_MS * np.arange(60)).ravel()
        columns = (opens, highs, lows, closes, lots * self.lot)
        return BarArrays(
            Timeframe.M1, times, np.column_stack([column.ravel() for column in columns])
        )


class MinuteSeries:
    """Minute bars, drawn by whole days when they are read. The last 64 days stay in memory."""

    def __init__(self, path: _Path, hourly: BarArrays) -> None:
        self._first = int(hourly.ts[0])
        self._end = int(hourly.ts[-1]) + _HOUR_MS
        self._day = lru_cache(maxsize=64)(
            lambda day: path.day_of_minutes(hourly.window(day * _DAY_MS, (day + 1) * _DAY_MS))
        )

    def window(self, start: int, end: int) -> BarArrays:
        start, end = max(start, self._first), min(end, self._end)
        if start >= end:
            return BarArrays(Timeframe.M1, np.empty(0, dtype=np.int64), np.empty((0, 5)))
        days = [self._day(day) for day in range(start // _DAY_MS, (end - 1) // _DAY_MS + 1)]
        joined = days[0] if len(days) == 1 else _joined(days)
        return joined.window(start, end)

    def page(self, start: int, end: int, limit: int) -> BarArrays:
        first = -(-max(start, self._first) // _MINUTE_MS) * _MINUTE_MS
        return self.window(first, min(end, first + limit * _MINUTE_MS))

    def last(self, end: int, limit: int) -> BarArrays:
        stop = -(-min(end, self._end) // _MINUTE_MS) * _MINUTE_MS
        return self.window(stop - limit * _MINUTE_MS, stop)

    def covers(self, at: int) -> bool:
        return self._first <= at < self._end


@dataclass(frozen=True)
class ResampledSeries:
    """Bars of a longer timeframe, built when they are read from a `source` without gaps."""

    source: MinuteSeries
    timeframe: Timeframe

    @property
    def step(self) -> int:
        return self.timeframe.seconds * 1000

    def window(self, start: int, end: int) -> BarArrays:
        first, stop = -(-start // self.step) * self.step, -(-end // self.step) * self.step
        return self.source.window(first, stop).resampled(self.timeframe)

    def page(self, start: int, end: int, limit: int) -> BarArrays:
        first = self.source.page(start, end, 1)
        if len(first) == 0:
            return first.resampled(self.timeframe)
        begin = -(-max(start, int(first.ts[0])) // self.step) * self.step
        return self.window(begin, min(end, begin + limit * self.step))

    def last(self, end: int, limit: int) -> BarArrays:
        newest = self.source.last(end, 1)
        if len(newest) == 0:
            return newest.resampled(self.timeframe)
        stop = (int(newest.ts[0]) // self.step + 1) * self.step
        return self.window(stop - limit * self.step, min(end, stop))

    def covers(self, at: int) -> bool:
        return self.source.covers(at)


def _joined(parts: list[BarArrays]) -> BarArrays:
    return BarArrays(
        parts[0].timeframe,
        np.concatenate([p.ts for p in parts]),
        np.concatenate([p.values for p in parts]),
    )
