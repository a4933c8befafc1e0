"""Content hashes: what they ignore and what they do not."""

from collections.abc import Callable

import polars as pl

from penstock.core.timeframes import Timeframe
from penstock.research.costs import Costs
from penstock.research.identity import hash_bars, search_id, strategy_source
from penstock.research.results import SearchSettings
from strategies import STRATEGIES


def test_hash_ignores_row_order_and_sees_every_value(walk: Callable[..., pl.DataFrame]) -> None:
    """A shuffled table is the same data; one changed value, symbol or instant is not."""
    bars = walk(symbols=2, bars=50)
    assert hash_bars(bars) == hash_bars(bars.sample(fraction=1, shuffle=True, seed=3))
    last = pl.int_range(pl.len()) == bars.height - 1
    for column in ("open", "high", "low", "close", "volume"):
        assert hash_bars(bars.with_columns(pl.when(last).then(pl.col(column) + 1e-9).otherwise(pl.col(column)))) != hash_bars(
            bars
        )
    assert hash_bars(bars.with_columns(pl.col("symbol").str.replace("A/", "Z/"))) != hash_bars(bars)
    assert hash_bars(bars.with_columns(pl.col("ts").dt.offset_by("1d"))) != hash_bars(bars)
    assert hash_bars(bars.head(-1)) != hash_bars(bars)


def test_id_ignores_where_the_study_is_stored() -> None:
    """The storage and how many candidates are listed do not change what was searched."""
    terms = ("data", [STRATEGIES["ma_cross"]], Costs())
    plain = search_id(*terms, SearchSettings(), Timeframe.D1)
    assert search_id(*terms, SearchSettings(storage_url="journal:x", top=3), Timeframe.D1) == plain
    assert search_id(*terms, SearchSettings(trials=51), Timeframe.D1) != plain
    assert search_id(*terms, SearchSettings(), Timeframe.H1) != plain


def test_source_is_the_whole_file_of_the_strategy() -> None:
    """What goes into the registry can be loaded by itself: imports included."""
    source = strategy_source(STRATEGIES["momentum"])
    assert "import polars" in source
    assert "class Momentum" in source
