"""Where candles come from and which of several files counts."""

from pathlib import Path

import polars as pl
import pytest

from penstock.core.errors import DataError
from penstock.core.timeframes import Timeframe
from penstock.practice.candles import ParquetCandles
from tests.unit.practice.conftest import Frames, Row

D = Timeframe.D1


def write(
    folder: Path,
    name: str,
    frame: pl.DataFrame,
    exchange: str = "binance",
    timeframe: Timeframe = D,
) -> None:
    frame.with_columns(
        pl.lit(exchange).alias("exchange"), pl.lit(timeframe.value).alias("timeframe")
    ).write_parquet(folder / name)


def opens(candles: ParquetCandles) -> list[float]:
    opened: list[float] = candles.load()["AAA/USDT"][D].window(0, 2**62).values[:, 0].tolist()
    return opened


def flat(price: float, days: int) -> list[Row | None]:
    return [(price, price, price, price, 1.0)] * days


def test_files_of_one_symbol_are_merged_and_the_longest_wins(tmp_path: Path, frame: Frames) -> None:
    """Days that both files have come from the one with more rows; the other adds the days only it
    has.
    """
    write(tmp_path, "a.parquet", frame([*flat(1.0, 3), None, *flat(1.0, 1)], D))
    write(tmp_path, "b.parquet", frame([None, *flat(2.0, 5)], D))
    assert opens(ParquetCandles(tmp_path)) == [1.0, 2.0, 2.0, 2.0, 2.0, 2.0]


def test_one_exchange_is_taken_for_a_symbol(tmp_path: Path, frame: Frames) -> None:
    """Prices of two exchanges are never mixed: the one with most rows is taken, or the one asked
    for.
    """
    write(tmp_path, "a.parquet", frame(flat(1.0, 3), D), exchange="binance")
    write(tmp_path, "b.parquet", frame([None, *flat(2.0, 4)], D), exchange="kraken")
    assert opens(ParquetCandles(tmp_path)) == [2.0] * 4
    assert opens(ParquetCandles(tmp_path, exchange="binance")) == [1.0] * 3


def test_raw_files_and_derivatives_are_left_out(tmp_path: Path, frame: Frames) -> None:
    """Files named __raw keep defects on purpose; symbols with a colon are no spot markets."""
    write(tmp_path, "a.parquet", frame(flat(1.0, 3), D))
    write(tmp_path, "b__raw.parquet", frame(flat(9.0, 9), D, symbol="RAW/USDT"))
    write(tmp_path, "c.parquet", frame(flat(1.0, 3), D, symbol="AAA/USDT:USDT"))
    assert set(ParquetCandles(tmp_path).load()) == {"AAA/USDT"}
    assert set(ParquetCandles(tmp_path, include_raw=True).load()) == {"AAA/USDT", "RAW/USDT"}


def test_file_with_wrong_columns_is_named_with_its_columns(tmp_path: Path, frame: Frames) -> None:
    """One clear sentence: the file, what is missing, what it has."""
    frame(flat(1.0, 3), D).rename({"close": "last"}).write_parquet(tmp_path / "odd.parquet")
    with pytest.raises(
        DataError, match=r"odd\.parquet: columns \['exchange', 'timeframe', 'close'\] are missing"
    ):
        ParquetCandles(tmp_path).load()


def test_folder_without_candles_is_refused(tmp_path: Path) -> None:
    """DataError names the folder that is absent or empty, and the file that is not Parquet."""
    with pytest.raises(DataError, match="no such folder"):
        ParquetCandles(tmp_path / "absent").load()
    with pytest.raises(DataError, match="no candles for any symbol"):
        ParquetCandles(tmp_path).load()
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(DataError, match=r"text\.parquet: not a readable Parquet file"):
        ParquetCandles(tmp_path).load()
