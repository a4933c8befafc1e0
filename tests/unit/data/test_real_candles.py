"""Real candles with known defects: what the checks must count, and what no check can see."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from penstock.core.timeframes import Timeframe
from penstock.data.bounds import BoundsGate
from penstock.data.checks import CheckedBars, check_symbol

#: What the collection's own notes say of each raw file; measures that are not named are zero.
KNOWN = {
    "justin__coinbase__BTC-USD__1h__raw": {
        "rows": 48060,
        "ohlc": 46480,
        "quarantined": 46480,
        "not_increasing": 48059,
    },
    "andrewsiah__binance__BTC-USDT__1h__raw": {
        "rows": 36062,
        "good": 33413,
        "duplicates": 2649,
        "quarantined": 2649,
        "missing": 16,
        "gaps": 8,
        "longest_gap": 4,
        "zero_volume": 117,
    },
    "freqtrade__binance__XRP-ETH__1m__raw": {
        "rows": 2469,
        "good": 2469,
        "missing": 1091,
        "gaps": 676,
        "longest_gap": 8,
    },
    "freqtrade__binance__ADA-BTC__5m__raw": {
        "rows": 5720,
        "good": 5720,
        "missing": 40,
        "gaps": 5,
        "longest_gap": 33,
    },
    "benicio__binance__BTC-USDT__1m__raw": {
        "rows": 50000,
        "good": 50000,
        "missing": 434,
        "gaps": 2,
        "longest_gap": 284,
    },
    "justin__binance__BTC-USDT__1h": {
        "rows": 45345,
        "good": 45345,
        "missing": 127,
        "gaps": 27,
        "longest_gap": 33,
    },
    "marketlab__binance__KITE-USDT__1m": {"rows": 155267, "good": 155267, "zero_volume": 9550},
}


def check_file(path: Path) -> CheckedBars:
    rows = pl.read_parquet(path)
    timeframe = Timeframe(rows["timeframe"][0])
    newest: datetime = rows["ts"].sort()[-1]
    return check_symbol(rows, rows["symbol"][0], timeframe, newest + timeframe.duration)


@pytest.mark.parametrize("name", KNOWN)
def test_known_defects_are_counted_exactly(candles_dir: Path, name: str) -> None:
    """The counts equal those that independent work on the same files gave."""
    metrics = check_file(candles_dir / f"{name}.parquet").metrics.row(0, named=True)
    assert {measure: metrics[measure] for measure in KNOWN[name]} == KNOWN[name]
    clean = ("nulls", "non_finite", "off_grid", "from_future", "absurd", "held_back")
    assert {measure: metrics[measure] for measure in clean} == dict.fromkeys(clean, 0)


def test_every_cleaned_file_passes_without_a_warning(candles_dir: Path) -> None:
    """The default bounds pass real markets: outages, crashes and listings of eight years are no
    alarm.
    """
    alarms = {}
    for path in sorted(candles_dir.glob("*.parquet")):
        if path.stem.endswith("__raw"):
            continue
        checked = check_file(path)
        failed = [str(v) for v in BoundsGate().judge(checked.metrics) if not v.success]
        if failed or checked.quarantined.height:
            alarms[path.stem] = failed
    assert alarms == {}


def test_swapped_columns_stop_the_symbol(candles_dir: Path) -> None:
    """A file whose open holds the low is refused as a whole, not piece by piece."""
    verdicts = BoundsGate().judge(
        check_file(candles_dir / "justin__coinbase__BTC-USD__1h__raw.parquet").metrics
    )
    assert {"ohlc", "quarantined"} <= {verdict.check for verdict in verdicts if verdict.stops}


def test_a_clock_shifted_by_whole_bars_cannot_be_seen(candles_dir: Path) -> None:
    """Eight hours of shift are eight whole hourly bars: the bars alone look perfect. Only another
    source can tell.
    """
    shifted = check_file(candles_dir / "justin__binance__ETH-USDT__1h__raw.parquet")
    corrected = check_file(candles_dir / "justin__binance__ETH-USDT__1h.parquet")
    moved = shifted.good.with_columns(pl.col("ts") - pl.duration(hours=8))
    assert moved.equals(corrected.good)
    assert all(verdict.success for verdict in BoundsGate().judge(shifted.metrics))
