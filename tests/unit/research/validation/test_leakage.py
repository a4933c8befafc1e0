"""The leak proof: every planted leak is caught, honest strategies pass, and a warm-up that is too
short is told from a peek at later bars.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from penstock.core.bars import require_bars
from penstock.core.doubts import DoubtedBar
from penstock.core.errors import DataError
from penstock.core.strategy import Matrix, Panel, Strategy, StrategyParams
from penstock.research.validation.leak_findings import Change
from penstock.research.validation.leakage import leak_proof
from strategies import STRATEGIES
from tests.honesty import leaks

Walk = Callable[..., pl.DataFrame]

#: What each part of the proof alone is there for.
FOUND_BY = {
    "unseeded_random": Change.NOTHING,
    "lazy_scaler": Change.REMOVED,
    "shift_without_over": Change.REMOVED,
    "module_cache": Change.REMOVED,
    "warm_up_peek": Change.REMOVED,
    "file_of_labels": Change.DATES,
    "clock": Change.DATES,
    "hindsight_dates": Change.DATES,
    "hindsight_symbol": Change.NAMES,
    "one_bar": Change.CHANGED,
    "one_bars_sign": Change.CHANGED,
}


class _Local(Strategy):
    """Base of strategies that are defined in a test."""

    name = "local"
    Params = StrategyParams

    @property
    def warmup_bars(self) -> int:
        return 0


@pytest.fixture(scope="module")
def universe(walk: Walk) -> pl.DataFrame:
    """Five coins over 420 days: two begin later, one lacks days, one lacks a month, one ends."""
    bars = walk(symbols=5, bars=420, seed=3)
    symbol, day = pl.col("symbol"), pl.col("ts").rank("dense") - 1
    absent = (
        ((symbol == "B/USDT") & (day % 37 == 5))
        | ((symbol == "C/USDT") & (day < 40))
        | ((symbol == "D/USDT") & ((day < 90) | day.is_between(200, 230)))
        | ((symbol == "E/USDT") & (day > 210))
    )
    return bars.filter(~absent)


@pytest.fixture(scope="module")
def about(universe: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What planted strategies are about: a file of labels, a symbol, and the close of one bar."""
    labels = tmp_path_factory.mktemp("labels") / "labels.parquet"
    leaks.write_labels(universe, labels)
    closes = universe.filter(pl.col("symbol") == "A/USDT")["close"]
    return {"labels": str(labels), "symbol": "A/USDT", "close": float(closes[233])}


@pytest.mark.parametrize("name", leaks.LEAKS)
def test_planted_leak_is_caught(name: str, universe: pl.DataFrame, about: dict[str, Any]) -> None:
    """Each way to see later bars is found, by the part of the proof that is there for it."""
    proof = leak_proof(leaks.planted(name, **about), universe)
    assert proof.leaks
    assert not proof.passed
    assert proof.leaks[0].change is FOUND_BY.get(name, proof.leaks[0].change)


@pytest.mark.parametrize("name", leaks.PANEL_LEAKS)
def test_leak_in_arrays_is_caught(name: str, universe: pl.DataFrame, about: dict[str, Any]) -> None:
    """The same on panels, with the slips that arrays invite."""
    assert leak_proof(leaks.planted_panel(name, **about), universe).leaks


@pytest.mark.parametrize("name", [*leaks.HONEST, *leaks.PANEL_HONEST])
def test_honest_strategy_raises_no_alarm(
    name: str, universe: pl.DataFrame, about: dict[str, Any]
) -> None:
    """Calendars, ranks, long windows and a leader that is named by a parameter are no leaks."""
    make: Callable[..., Strategy] = leaks.planted if name in leaks.HONEST else leaks.planted_panel
    proof = leak_proof(make(name, **about), universe)
    assert [leak.sentence() for leak in proof.leaks] == []
    assert proof.memory is None
    assert proof.cuts == universe["ts"].n_unique() - 1


@pytest.mark.parametrize(
    ("name", "sufficient"),
    [
        ("short_ewm", range(25, 45)),
        ("expanding_mean", None),
        ("hold_until_exit", range(60, 300)),
        ("every_fifth_row", None),
        ("short_warm_up", range(30, 45)),
    ],
)
def test_warmup_that_is_too_short_is_no_peek_at_later_bars(
    name: str, sufficient: range | None, universe: pl.DataFrame
) -> None:
    """The second verdict alone, with the warm-up that would do, or how far none did."""
    proof = leak_proof(leaks.planted(name), universe)
    assert proof.leaks == ()
    assert proof.memory is not None
    assert proof.memory.before != proof.memory.after
    if sufficient is None:
        assert proof.memory.sufficient_bars is None
        assert proof.memory.tried_bars > 300
        assert "none up to" in proof.memory.sentence()
    else:
        assert proof.memory.sufficient_bars in sufficient
        assert f"{proof.memory.sufficient_bars} would do" in proof.memory.sentence()


def test_memory_of_what_has_not_happened_yet_is_found(walk: Walk) -> None:
    """Out for sixty bars after a jump, in a history without one: no window differs, and the day
    after a jump live trading would.
    """

    class Shy(_Local):
        @property
        def warmup_bars(self) -> int:
            return 20

        def target_weights(self, panel: Panel) -> Matrix:
            jump = np.abs(panel.momentum(1)) > 0.2
            return np.where(panel.max(60, of=jump.astype(float)) > 0, 0.0, 0.1)

    proof = leak_proof(Shy(), walk(symbols=2, bars=400))
    assert proof.leaks == ()
    assert proof.memory is not None
    assert "0 with others before the last 20; its warm-up is 20" in proof.memory.sentence()


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_shipped_strategies_pass_on_coarse_ticks(name: str, walk: Walk) -> None:
    """Prices on ticks equal their own average often; how a moving sum rounds must not decide what
    is held.
    """
    bars = walk(symbols=6, bars=260, seed=5)
    coarse = bars.with_columns((pl.col("close") * 5).round(0) / 5)
    assert leak_proof(STRATEGIES[name](), coarse).passed


def test_leak_of_one_bar_is_named_with_the_weight_before_and_after(
    universe: pl.DataFrame, about: dict[str, Any]
) -> None:
    """Symbol, bar and both weights: what a quant needs to find the line."""
    (leak,) = leak_proof(leaks.planted("one_bar", **about), universe).leaks
    at = universe.filter(pl.col("symbol") == "A/USDT")["ts"][233]
    assert (leak.symbol, leak.ts, leak.cut, leak.count) == ("A/USDT", at, at, 1)
    assert leak.before is not None
    assert leak.after is not None
    assert leak.before != leak.after
    sentence = leak.sentence()
    assert sentence.startswith(f"A/USDT at {at:%Y-%m-%d %H:%M}: weight {leak.before:.6g} becomes ")
    assert sentence.endswith(f"with later bars changed after {at:%Y-%m-%d %H:%M}")


@pytest.mark.parametrize("place", [3_000, 6_277, 9_500, 12_540])
def test_leak_of_one_real_hour_is_caught_whatever_the_length(place: int, candles_dir: Path) -> None:
    """One hour of one symbol among 12,556 of two: a comb over all of them costs 30 evaluations."""
    names = [f"marketlab__binance__{base}-USDT__1h.parquet" for base in ("BTC", "ETH")]
    bars = require_bars(pl.concat([pl.read_parquet(candles_dir / n) for n in names]), "candles")
    own = bars.filter(pl.col("symbol") == "BTC/USDT").sort("ts")
    assert own.height == 12_556
    close = float(own["close"][place])
    planted = leaks.planted_panel("one_cell", close=close)
    (leak,) = leak_proof(planted, bars).leaks
    assert leak.change is Change.CHANGED
    assert own.filter(pl.col("ts") == leak.ts)["close"].to_list() == [close]


def test_class_that_cannot_be_loaded_anew_is_said_to_be_so(walk: Walk) -> None:
    """A class of a notebook or a function keeps its module's state; its instance is new."""

    class Here(_Local):
        def target_weights(self, panel: Panel) -> Matrix:
            return np.full(panel.close.shape, 0.1)

    bars = walk(symbols=2, bars=60)
    assert not leak_proof(Here(), bars).is_reloaded
    assert leak_proof(STRATEGIES["momentum"].from_params({"lookback_bars": 5}), bars).is_reloaded


def test_strategy_that_fails_at_other_dates_is_no_honest_one(walk: Walk) -> None:
    """A table that is looked up by date raises where there is no such date: that is a finding."""
    bars = walk(symbols=2, bars=60)

    class Lookup(_Local):
        def target_weights(self, panel: Panel) -> Matrix:
            if panel.ts[-1] > datetime(2030, 1, 1, tzinfo=UTC):
                raise KeyError("no such date")
            return np.full(panel.close.shape, 0.1)

    (leak,) = leak_proof(Lookup(), bars).leaks
    assert leak.change is Change.DATES
    assert "fails (KeyError: 'no such date')" in leak.sentence()


def test_far_peek_in_the_warm_up_after_a_listing_is_caught(walk: Walk) -> None:
    """The first bar of a late coin sees its fiftieth, in a long history: a block of the comb ends
    before that, and no prefix happens to end between the two.
    """

    class FirstBar(_Local):
        @property
        def warmup_bars(self) -> int:
            return 60

        def target_weights(self, panel: Panel) -> Matrix:
            weights = np.full(panel.close.shape, 0.1)
            for column in range(len(panel.symbols)):
                own = np.flatnonzero(panel.present[:, column])
                if len(own) > 50 and own[0] > 0:
                    far = panel.close[own[50], column] / panel.close[own[0], column]
                    weights[own[0], column] = 0.1 * min(far, 2.0)
            return weights

    symbol, day = pl.col("symbol"), pl.col("ts").rank("dense")
    bars = walk(symbols=2, bars=2_000).filter((symbol == "A/USDT") | (day > 777))
    (leak, *_) = leak_proof(FirstBar(), bars).leaks
    assert (leak.symbol, leak.ts) == ("B/USDT", bars.filter(symbol == "B/USDT")["ts"][0])


def test_strategy_that_fails_on_few_bars_is_no_honest_one(walk: Walk) -> None:
    """It would fail in the slot of a coin that was listed yesterday, and take the others along."""

    class NeedsMany(_Local):
        def target_weights(self, panel: Panel) -> Matrix:
            if panel.present.sum(axis=0).min() < 5:
                raise ValueError("a window of 5 of 1 bars")
            return np.full(panel.close.shape, 0.1)

    symbol, day = pl.col("symbol"), pl.col("ts").rank("dense")
    bars = walk(symbols=2, bars=120).filter((symbol == "A/USDT") | (day > 50))
    found = leak_proof(NeedsMany(), bars).leaks
    assert "fails (ValueError: a window of 5 of 1 bars)" in found[0].sentence()


def test_strategy_that_fails_on_all_bars_raises_its_own_error(walk: Walk) -> None:
    """There is nothing to compare with."""

    class Broken(_Local):
        def target_weights(self, panel: Panel) -> Matrix:
            raise ZeroDivisionError("by hand")

    with pytest.raises(ZeroDivisionError, match="by hand"):
        leak_proof(Broken(), walk(symbols=2, bars=60))


def test_series_is_cut_renamed_and_moved_with_the_bars(walk: Walk) -> None:
    """One that is read at each close is honest, and one that is read ahead is not."""
    bars = walk(symbols=2, bars=90)
    funding = bars.select("symbol", "ts", value=pl.col("close") / 1000)

    class Funded(_Local):
        series = ("funding",)

        def target_weights(self, panel: Panel) -> Matrix:
            return np.nan_to_num(panel.series("funding"))

    class Ahead(Funded):
        def target_weights(self, panel: Panel) -> Matrix:
            newest = panel.given_series["funding"].group_by("symbol").agg(pl.col("value").last())
            return np.full(panel.close.shape, float(newest["value"].sum()))

    assert leak_proof(Funded(), bars, series={"funding": funding}).passed
    assert leak_proof(Ahead(), bars, series={"funding": funding}).leaks


def test_bars_in_doubt_are_decided_as_they_were_known(walk: Walk) -> None:
    """A prefix ends at the doubted bar, is decided without it, and raises no alarm."""
    bars = walk(symbols=3, bars=120)
    at = bars["ts"][60]
    without_it: list[bool] = []

    class Watching(_Local):
        def target_weights(self, panel: Panel) -> Matrix:
            if panel.ts[-1] == at:
                without_it.append(bool(np.isnan(panel.close[-1, 1])))
            return np.full(panel.close.shape, 0.1)

    doubts = [DoubtedBar("B/USDT", at, at + timedelta(days=3))]
    assert leak_proof(Watching(), bars, doubts=doubts).passed
    assert True in without_it


def test_progress_goes_up_to_its_total(walk: Walk) -> None:
    """Every evaluation is told, none beyond the total, and the last call says that all is done."""
    seen: list[tuple[int, int]] = []
    proof = leak_proof(
        STRATEGIES["momentum"].from_params({"lookback_bars": 5}),
        walk(symbols=2, bars=100),
        on_evaluation=lambda done, total: seen.append((done, total)),
    )
    assert proof.passed
    assert len(seen) == proof.evaluations + 1
    assert {total for _, total in seen} == {seen[-1][1]}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]
    assert proof.evaluations <= seen[-1][1]


def test_too_few_bars_to_check_are_refused(walk: Walk) -> None:
    """An unchecked strategy must not look like a clean one."""
    with pytest.raises(DataError, match="needs"):
        leak_proof(STRATEGIES["ma_cross"](), walk(bars=40))
