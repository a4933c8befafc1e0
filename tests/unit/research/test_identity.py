"""Content hashes: what they ignore and what they do not."""

from collections.abc import Callable
from typing import Any

import polars as pl

from penstock.core.strategy import Strategy
from penstock.core.timeframes import Timeframe
from penstock.research.engine.costs import Costs
from penstock.research.engine.results import SearchSettings
from penstock.research.identity import hash_bars, search_id, strategy_code
from strategies import STRATEGIES


def test_hash_ignores_row_order_and_sees_every_value(walk: Callable[..., pl.DataFrame]) -> None:
    """A shuffled table is the same data; one changed value, symbol or instant is not."""
    bars = walk(symbols=2, bars=50)
    assert hash_bars(bars) == hash_bars(bars.sample(fraction=1, shuffle=True, seed=3))
    last = pl.int_range(pl.len()) == bars.height - 1
    for column in ("open", "high", "low", "close", "volume"):
        assert hash_bars(
            bars.with_columns(pl.when(last).then(pl.col(column) + 1e-9).otherwise(pl.col(column)))
        ) != hash_bars(bars)
    assert hash_bars(bars.with_columns(pl.col("symbol").str.replace("A/", "Z/"))) != hash_bars(bars)
    assert hash_bars(bars.with_columns(pl.col("ts").dt.offset_by("1d"))) != hash_bars(bars)
    assert hash_bars(bars.head(-1)) != hash_bars(bars)


def test_id_ignores_how_much_is_shown() -> None:
    """How many candidates are listed does not change what was searched."""
    terms = ("data", [STRATEGIES["ma_cross"]], Costs())
    plain = search_id(*terms, SearchSettings(), Timeframe.D1)
    assert search_id(*terms, SearchSettings(top=3), Timeframe.D1) == plain
    assert search_id(*terms, SearchSettings(trials=51), Timeframe.D1) != plain
    assert search_id(*terms, SearchSettings(), Timeframe.H1) != plain


CELL = """
import polars as pl
from penstock.core.strategy import FrameStrategy, StrategyParams

class Cell(FrameStrategy):
    name = "cell"
    class Params(StrategyParams):
        pass
    warmup_bars = 0
    def frame_weights(self, bars):
        return bars.select("symbol", "ts", weight=pl.lit(0.5))
"""


def test_code_of_a_strategy_is_its_file_and_of_a_notebook_cell_its_function() -> None:
    """A search is another one when the code is, even where the class has no file."""

    def cell(source: str) -> type[Strategy]:
        names: dict[str, Any] = {"__name__": "a_notebook"}
        exec(compile(source, "<cell>", "exec"), names)
        strategy: type[Strategy] = names["Cell"]
        return strategy

    assert "import numpy" in strategy_code(STRATEGIES["momentum"])
    assert "class Momentum" in strategy_code(STRATEGIES["momentum"])
    assert strategy_code(cell(CELL)) == strategy_code(cell(CELL))
    assert strategy_code(cell(CELL)) != strategy_code(cell(CELL.replace("0.5", "0.6")))
