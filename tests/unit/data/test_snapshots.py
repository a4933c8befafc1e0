"""A snapshot's name is its content: the same bars, the same name; other bars, another; a changed
file, an error.
"""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.errors import DataError, NoSnapshotError
from penstock.core.timeframes import Timeframe
from penstock.data.snapshots import content_hash, load_snapshot, write_snapshot

Walk = Callable[..., pl.DataFrame]
H1 = Timeframe.H1


def test_a_snapshot_is_read_back_as_it_was(walk: Walk, tmp_path: Path) -> None:
    """Bars and description survive the file; nothing else is left in the folder."""
    bars = pl.concat([walk(50, symbol="ETH/USDT"), walk(40)])
    snapshot = write_snapshot(bars, "test", H1, tmp_path / "new")
    again, read = load_snapshot(snapshot.path)
    assert read.equals(bars.sort("symbol", "ts"))
    assert again == snapshot
    assert (snapshot.rows, snapshot.symbols, snapshot.first, snapshot.last) == (
        *(90, ("BTC/USDT", "ETH/USDT")),
        *(bars["ts"].min(), bars["ts"].max()),
    )
    assert snapshot.bars().equals(read)
    assert [path.name for path in (tmp_path / "new").iterdir()] == [
        f"{snapshot.content_hash}.parquet"
    ]


def test_the_name_does_not_depend_on_how_the_file_was_written(walk: Walk, tmp_path: Path) -> None:
    """Order of rows, chunks in memory, compression and the file's own layout are no content."""
    bars = pl.concat([walk(500), walk(500, symbol="ETH/USDT", seed=1)])
    name = content_hash(bars, "test", H1)
    assert content_hash(bars.sample(fraction=1.0, shuffle=True, seed=3), "test", H1) == name
    bars.write_parquet(
        tmp_path / "other.parquet", compression="snappy", row_group_size=100, use_pyarrow=True
    )
    assert content_hash(pl.read_parquet(tmp_path / "other.parquet"), "test", H1) == name


def test_the_name_is_the_one_that_was_given_before(walk: Walk) -> None:
    """The hash of known bars stays as it was: old records hold it."""
    values = {"open": 2.0, "high": 3.0, "low": 1.0, "close": 2.5, "volume": 0.0}
    bars = walk(3).with_columns(pl.lit(value).alias(name) for name, value in values.items())
    assert (
        content_hash(bars, "test", H1)
        == "bcd26c10057a7d6a24dc709ddac29be98e5eeb7f16c5a31bc91a62249c0bc30d"
    )


@given(row=st.integers(0, 49), column=st.sampled_from(["open", "high", "low", "close", "volume"]))
@settings(max_examples=25)
def test_the_smallest_change_gives_another_name(walk: Walk, row: int, column: str) -> None:
    """One unit in the last place of one value is another dataset."""
    bars = walk(50)
    value = bars[column][row]
    changed = bars.with_columns(
        pl.when(pl.int_range(pl.len()) == row)
        .then(pl.lit(value * (1 + 2.3e-16)))
        .otherwise(pl.col(column))
        .alias(column)
    )
    assert changed[column][row] != value
    assert content_hash(changed, "test", H1) != content_hash(bars, "test", H1)


def test_exchange_timeframe_symbol_and_time_are_content(walk: Walk) -> None:
    """The same figures of another market or time are another dataset."""
    bars = walk(20)
    names = {
        content_hash(bars, "test", H1),
        content_hash(bars, "other", H1),
        content_hash(bars, "test", Timeframe.M1),
        content_hash(bars.with_columns(symbol=pl.lit("ETH/USDT")), "test", H1),
        content_hash(bars.with_columns(pl.col("ts") + pl.duration(hours=1)), "test", H1),
        content_hash(bars[:-1], "test", H1),
    }
    assert len(names) == 6


def test_a_changed_file_is_refused(walk: Walk, tmp_path: Path) -> None:
    """Whoever edits a snapshot, or damages it, is found out when it is read, and when it is written
    again.
    """
    bars = walk(50)
    snapshot = write_snapshot(bars, "test", H1, tmp_path)
    kept = pl.read_parquet_metadata(snapshot.path)["penstock"]
    bars.with_columns(volume=pl.col("volume") * 2).write_parquet(
        snapshot.path, metadata={"penstock": kept}
    )
    with pytest.raises(DataError, match="holds other data than its name says"):
        load_snapshot(snapshot.path)
    with pytest.raises(DataError, match="holds other data than its name says"):
        write_snapshot(bars, "test", H1, tmp_path)
    snapshot.path.write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match="is not a snapshot of bars, or is damaged"):
        load_snapshot(snapshot.path)
    with pytest.raises(NoSnapshotError, match="is gone"):
        load_snapshot(tmp_path / "nowhere.parquet")


def test_a_write_that_fails_leaves_nothing_behind(
    walk: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file appears whole under its name, or not at all."""

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_snapshot(walk(50), "test", H1, tmp_path)
    assert list(tmp_path.iterdir()) == []
