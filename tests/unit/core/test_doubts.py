"""A bar that was in doubt at its close: who knew it when, and what was decided without it."""

from datetime import UTC, datetime, timedelta

import polars as pl

from penstock.core.bars import BARS_SCHEMA
from penstock.core.doubts import DoubtedBar, decide_as_known, known_then
from penstock.core.panel_frames import panel_of
from penstock.core.strategy import FrameStrategy, StrategyParams
from penstock.core.timeframes import Timeframe
from penstock.research.engine.backtest import backtest
from penstock.research.engine.costs import Costs
from penstock.simulation.replay import _moments

H1 = Timeframe.H1
START = datetime(2024, 1, 1, tzinfo=UTC)
FREE = Costs(fee_bps=0, slippage_bps=0, max_volume_share=None)


def at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


def bars_of(closes: dict[str, list[float]]) -> pl.DataFrame:
    rows = [
        (symbol, at(hour), close, close, close, close, 1.0)
        for symbol, values in closes.items()
        for hour, close in enumerate(values)
    ]
    return pl.DataFrame(rows, BARS_SCHEMA, orient="row")


class Cheapest(FrameStrategy):
    """All in the symbol with the lowest close."""

    name = "cheapest"

    class Params(StrategyParams):
        pass

    @property
    def warmup_bars(self) -> int:
        return 0

    def frame_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
        cheapest = pl.col("close") == pl.col("close").min().over("ts")
        return bars.select("symbol", "ts", weight=cheapest.cast(pl.Float64))


#: B falls from 20 to 1 in the third hour and stays there. Nobody quoted that at its close.
BARS = bars_of({"A": [10.0] * 6, "B": [20.0, 20.0, 1.0, 1.0, 1.0, 1.0]})
DOUBT = DoubtedBar("B", at(2), at(4) + timedelta(seconds=3))


def decided_as_known(doubt: DoubtedBar) -> pl.DataFrame:
    panel = panel_of(BARS, H1)
    weights = decide_as_known(Cheapest(), panel, [doubt])
    values = pl.Series("weight", weights.reshape(-1)[panel.cells]).fill_nan(None)
    return panel.bars.select("symbol", "ts").with_columns(values)


def weights_at(weights: pl.DataFrame, hour: int) -> list[float | None]:
    return weights.filter(pl.col("ts") == at(hour))["weight"].to_list()


def test_bar_is_known_from_the_slot_that_stored_it() -> None:
    """A slot ingests before it decides: what was stored seconds after four was known at four."""
    assert DOUBT.known_slot(H1) == at(4)
    assert known_then(BARS, [DOUBT], H1, at(3)).height == BARS.height - 1
    assert known_then(BARS, [DOUBT], H1, at(4)).equals(BARS)
    soon = DoubtedBar("B", at(2), at(3) + timedelta(seconds=40))
    assert known_then(BARS, [soon], H1, at(3)).equals(BARS)


def test_decision_at_the_slot_in_doubt_does_not_know_the_bar() -> None:
    """At three o'clock B has no decision, and A is decided as if B's bar were late. Before and
    after nothing differs.
    """
    weights, plain = decided_as_known(DOUBT), Cheapest().decide(BARS)
    assert weights_at(plain, 2) == [0.0, 1.0]
    assert weights_at(weights, 2) == [1.0, None]
    other = pl.col("ts") != at(2)
    assert weights.filter(other).equals(plain.filter(other))


def test_backtest_buys_when_live_knew() -> None:
    """Without the doubt the crash is bought at three, with it at four."""
    bought = [
        backtest(BARS, Cheapest(), FREE, timeframe=H1, doubts=doubts)
        .orders.filter(pl.col("symbol") == "B")["ts"]
        .to_list()
        for doubts in ([], [DOUBT])
    ]
    assert bought == [[at(3)], [at(4)]]


def test_doubt_ends_with_the_next_bar_of_the_symbol() -> None:
    """A service that stood still for a day knew the bar as late as the one after it."""
    late = DoubtedBar("B", at(2), at(40))
    weights = decided_as_known(late)
    assert [weights_at(weights, hour)[1] for hour in (2, 3)] == [None, 1.0]


def test_replay_sees_the_bar_when_live_knew_it() -> None:
    """At three o'clock the last close of B that risk sees is the one before."""
    slots = [at(3), at(4), at(5)]
    doubts = {("B", at(2)): DOUBT.known_slot(H1)}
    seen = [moment.seen["B"].close for moment in _moments(BARS, slots, doubts)]
    assert seen == [20.0, 1.0, 1.0]
    assert [moment.seen["B"].close for moment in _moments(BARS, slots, {})] == [1.0, 1.0, 1.0]
