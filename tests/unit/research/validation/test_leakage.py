"""The lookahead check: clean strategies pass, and each known kind of leak is caught."""

from collections.abc import Callable
from datetime import UTC, datetime

import polars as pl
import pytest

from penstock.core.errors import DataError
from penstock.core.strategy import FrameStrategy, Strategy, StrategyParams
from penstock.research.validation.leakage import check_no_lookahead
from strategies import STRATEGIES

ONE_DAY = datetime(2021, 6, 1, tzinfo=UTC)


class _Sized(FrameStrategy):
    class Params(StrategyParams):
        pass

    @property
    def warmup_bars(self) -> int:
        return 5


class NextClose(_Sized):
    """Buys what closes higher on the next bar."""

    name = "next_close"

    def frame_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
        rises = (pl.col("close").shift(-1) > pl.col("close")).over("symbol").fill_null(False)
        return bars.select("symbol", "ts", weight=rises.cast(pl.Float64) * 0.1)


class WholeSampleMean(_Sized):
    """Compares with the mean of all closes, those to come included."""

    name = "whole_sample_mean"

    def frame_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
        low = (pl.col("close") < pl.col("close").mean()).over("symbol")
        return bars.select("symbol", "ts", weight=low.cast(pl.Float64) * 0.1)


class OneBarOfOneSymbol(_Sized):
    """Peeks once: at one bar of one symbol, one bar ahead."""

    name = "one_bar"

    def frame_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
        peek = (pl.col("ts") == ONE_DAY) & (pl.col("symbol") == "C/USDT")
        seen = (
            pl.when(peek).then(pl.col("close").shift(-1)).otherwise(pl.col("close")).over("symbol")
        )
        return bars.select("symbol", "ts", weight=(seen / 1000).clip(0, 0.1))


class OtherSymbolsFuture(_Sized):
    """A leak from another symbol's bars is found on the whole universe only."""

    name = "neighbour"

    def frame_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
        leader = bars.filter(pl.col("symbol") == "A/USDT").select(
            "ts", lead=pl.col("close").shift(-1)
        )
        both = bars.join(leader, on="ts", how="left", maintain_order="left")
        weight = (
            pl.when(pl.col("symbol") == "A/USDT")
            .then(0.1)
            .otherwise((pl.col("lead") / 1000).clip(0, 0.1).fill_null(0))
        )
        return both.select("symbol", "ts", weight=weight)


class Watching(_Sized):
    """Keeps what it was shown."""

    name = "watching"

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[pl.DataFrame] = []

    def frame_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
        self.seen.append(bars)
        return bars.select("symbol", "ts", weight=pl.lit(0.1))


class ForgetfulWarmup(_Sized):
    """Says five bars and needs thirty."""

    name = "forgetful"

    def frame_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
        return bars.select(
            "symbol",
            "ts",
            weight=(pl.col("close").rolling_mean(30).over("symbol") / 1000).clip(0, 0.1),
        )


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_strategies_do_not_look_ahead_on_a_random_walk(
    name: str, walk: Callable[..., pl.DataFrame]
) -> None:
    """No future changes a past weight, at any bar."""
    assert check_no_lookahead(STRATEGIES[name](), walk(symbols=6, bars=260), cuts=None) == []
    assert check_no_lookahead(STRATEGIES[name](), walk(symbols=6, bars=260), cuts=10) == []


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_ties_on_coarse_ticks_do_not_depend_on_the_history(
    name: str, walk: Callable[..., pl.DataFrame]
) -> None:
    """Prices on ticks equal their own average often; how a moving sum rounds must not decide what
    is held.
    """
    coarse = walk(symbols=6, bars=260, seed=5).with_columns((pl.col("close") * 5).round(0) / 5)
    assert check_no_lookahead(STRATEGIES[name](), coarse, cuts=None) == []


@pytest.mark.parametrize("leaky", [NextClose, WholeSampleMean, OtherSymbolsFuture])
@pytest.mark.parametrize("seed", range(3))
def test_leak_at_every_bar_is_caught_by_a_few_cuts(
    leaky: type[Strategy], seed: int, walk: Callable[..., pl.DataFrame]
) -> None:
    """Ten random cuts are enough for a leak that is always there."""
    assert check_no_lookahead(leaky(), walk(symbols=4), cuts=10, seed=seed)


def test_leak_of_one_single_bar_is_caught_by_cutting_everywhere(
    walk: Callable[..., pl.DataFrame],
) -> None:
    """One bar of one symbol among 1,200: named exactly."""
    leaks = check_no_lookahead(OneBarOfOneSymbol(), walk(symbols=4), cuts=None)
    assert [(leak.symbol, leak.ts, leak.cut) for leak in leaks] == [("C/USDT", ONE_DAY, ONE_DAY)]
    assert leaks[0].before != leaks[0].after


def test_strategy_is_shown_the_last_bars_of_each_symbol_at_every_cut(
    walk: Callable[..., pl.DataFrame],
) -> None:
    """One symbol lacks days, one ends early, one begins late: each window has what was known."""
    day, symbol = pl.col("ts").dt.ordinal_day(), pl.col("symbol")
    lacks = (symbol == "A/USDT") & (day % 3 == 0)
    ended = (symbol == "B/USDT") & (day > 40)
    absent = (symbol == "D/USDT") & (day < 30)
    bars = walk(symbols=4, bars=60).filter(~lacks & ~ended & ~absent)
    strategy = Watching()
    assert check_no_lookahead(strategy, bars, cuts=None) == []
    for cut, seen in zip(bars["ts"].unique().sort()[5:-1], strategy.seen[1:], strict=True):
        known = bars.filter(pl.col("ts") <= cut)
        assert seen.equals(known.group_by("symbol", maintain_order=True).tail(6))


def test_every_cut_where_a_weight_differs_is_found(walk: Callable[..., pl.DataFrame]) -> None:
    """Cut at every bar, a strategy that buys what rises next is caught at each bar that rises."""
    bars = walk(symbols=1, bars=40)
    rises = bars.filter(pl.col("close").shift(-1) > pl.col("close"))["ts"]
    leaks = check_no_lookahead(NextClose(), bars, cuts=None)
    assert [leak.cut for leak in leaks] == [ts for ts in rises if ts >= bars["ts"][5]]
    assert {(leak.before, leak.after) for leak in leaks} == {(0.1, 0.0)}


def test_warmup_that_is_too_short_is_caught_by_cutting_everywhere(
    walk: Callable[..., pl.DataFrame],
) -> None:
    """A strategy that needs more history than it declares would decide otherwise when live."""
    assert check_no_lookahead(ForgetfulWarmup(), walk(symbols=2, bars=80), cuts=None)


def test_too_few_bars_to_check_are_refused(walk: Callable[..., pl.DataFrame]) -> None:
    """An unchecked strategy must not look like a clean one."""
    with pytest.raises(DataError, match="needs"):
        check_no_lookahead(STRATEGIES["ma_cross"](), walk(bars=40))
