"""Each strategy does what its thesis says, on markets made to show it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from penstock.core.bars import TS
from penstock.core.late_bars import LATE_BARS
from strategies import STRATEGIES
from strategies.breakout import Breakout
from strategies.composite import Composite
from strategies.dca import DollarCostAveraging
from strategies.grid import Grid
from strategies.inverse_volatility import InverseVolatility
from strategies.ma_cross import MovingAverageCross
from strategies.mean_reversion import MeanReversion
from strategies.momentum import Momentum


def bars(**closes: list[float]) -> pl.DataFrame:
    """Return daily bars whose four prices are the closes given for each symbol."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    tables = [
        pl.DataFrame(
            {
                "ts": pl.Series([start + timedelta(days=i) for i in range(len(values))], dtype=TS),
                "close": values,
            }
        ).select(
            pl.lit(f"{name}/USDT").alias("symbol"),
            "ts",
            *(pl.col("close").alias(c) for c in ("open", "high", "low")),
            "close",
            pl.lit(1.0).alias("volume"),
        )
        for name, values in sorted(closes.items())
    ]
    return pl.concat(tables)


def last(table: pl.DataFrame) -> dict[str, float]:
    return {
        s.split("/")[0]: w
        for s, w in table.group_by("symbol").agg(pl.col("weight").last()).iter_rows()
    }


def test_trend_holds_the_riser_and_leaves_the_faller_in_cash() -> None:
    """Each symbol has half the exposure, and only the one in an up-trend uses it."""
    table = bars(UP=list(np.linspace(1, 2, 120)), DOWN=list(np.linspace(2, 1, 120)))
    assert last(MovingAverageCross().decide(table)) == {"UP": pytest.approx(0.49), "DOWN": 0.0}


def test_trend_sells_after_the_turn() -> None:
    """A long decline ends the holding."""
    turned = [*np.linspace(1, 2, 120), *np.linspace(2, 1, 120)]
    assert last(MovingAverageCross().decide(bars(A=turned)))["A"] == 0.0


def test_trend_holds_nothing_on_a_tie() -> None:
    """A price that cycles has equal averages at every bar. The last digit of a moving sum must not
    buy it.
    """
    weights = MovingAverageCross().decide(bars(A=[0.1, 0.3, 0.7, 0.2] * 60))
    assert set(weights["weight"].drop_nulls()) == {0.0}


def test_momentum_holds_the_strongest_third() -> None:
    """Of six rising symbols the best two share the exposure."""
    table = bars(
        **{name: list(np.linspace(1, 1 + k, 100)) for k, name in enumerate("ABCDEF", start=1)}
    )
    weights = last(Momentum(Momentum.Params(top_fraction=0.3)).decide(table))
    assert {name for name, weight in weights.items() if weight > 0} == {"E", "F"}
    assert weights["F"] == pytest.approx(0.49)


def test_momentum_holds_nothing_that_has_fallen() -> None:
    """The best of losers is still a loser: all cash."""
    table = bars(A=list(np.linspace(2, 1, 100)), B=list(np.linspace(2, 1.5, 100)))
    assert set(last(Momentum().decide(table)).values()) == {0.0}


def test_momentum_skips_the_newest_bars() -> None:
    """A jump within the skipped bars does not count yet."""
    jump = [1.0] * 99 + [5.0]
    assert (
        last(Momentum(Momentum.Params(skip_bars=1)).decide(bars(A=jump, B=[1.0] * 100)))["A"] == 0.0
    )
    assert last(Momentum(Momentum.Params(skip_bars=0)).decide(bars(A=jump, B=[1.0] * 100)))["A"] > 0


def test_reversion_buys_the_crash_and_sells_at_the_mean() -> None:
    """Bought on the bar of the fall, held while under the mean, sold when back above it."""
    calm = [100.0 + (-1) ** i for i in range(40)]
    fell = [*calm, 99.0, 97.0, 90.0]
    assert last(MeanReversion().decide(bars(A=[*calm])))["A"] == 0.0
    assert last(MeanReversion().decide(bars(A=fell)))["A"] == pytest.approx(0.98)
    assert last(MeanReversion().decide(bars(A=[*fell, 93.0])))["A"] == pytest.approx(0.98)
    assert last(MeanReversion().decide(bars(A=[*fell, 104.0])))["A"] == 0.0


def test_reversion_gives_up_after_its_time_limit() -> None:
    """A fall that is not given back within the limit is sold."""
    fell = [*[100.0 + (-1) ** i for i in range(40)], 99.0, 97.0, 90.0]
    strategy = MeanReversion(MeanReversion.Params(hold_bars=3))
    assert last(strategy.decide(bars(A=[*fell, 91.0, 91.5])))["A"] > 0
    assert last(strategy.decide(bars(A=[*fell, 91.0, 91.5, 92.0, 92.0])))["A"] == 0.0


def test_inverse_volatility_gives_the_calm_symbol_more() -> None:
    """Twice the volatility, half the weight."""
    random = np.random.default_rng(0).normal(0, 0.01, 100)
    table = bars(CALM=list(np.exp(np.cumsum(random))), WILD=list(np.exp(np.cumsum(2 * random))))
    weights = last(InverseVolatility(InverseVolatility.Params(max_weight=1.0)).decide(table))
    assert weights["CALM"] == pytest.approx(2 * weights["WILD"])
    assert weights["CALM"] + weights["WILD"] == pytest.approx(0.98)


def test_inverse_volatility_caps_a_single_symbol() -> None:
    """What the cap cuts off stays in cash instead of going to the others."""
    random = np.random.default_rng(0).normal(0, 0.01, 100)
    table = bars(CALM=list(np.exp(np.cumsum(random / 50))), WILD=list(np.exp(np.cumsum(random))))
    weights = last(InverseVolatility(InverseVolatility.Params(max_weight=0.4)).decide(table))
    assert weights["CALM"] == pytest.approx(0.4)
    assert weights["WILD"] < 0.03


def test_grid_holds_more_the_lower_the_price_stands() -> None:
    """Half in the middle of its band, all at the lower edge, nothing at the upper one."""
    swing = [100.0 + (-1) ** i for i in range(80)]
    strategy = Grid(Grid.Params(band_bars=61, levels=4))
    prices = (90.0, 99.0, 100.0, 101.0, 110.0)
    held = [last(strategy.decide(bars(A=[*swing, price])))["A"] for price in prices]
    assert held == sorted(held, reverse=True)
    assert held[0] == pytest.approx(0.98)
    assert held[2] == pytest.approx(0.49)
    assert held[-1] == 0.0


def test_grid_of_a_price_that_does_not_move_is_in_its_middle() -> None:
    """No step is bought or sold by what a mean rounds."""
    weights = Grid(Grid.Params(levels=4)).decide(bars(A=[0.1] * 200))["weight"].drop_nulls()
    assert weights.to_list() == pytest.approx([0.49] * len(weights))


def test_averaging_buys_a_decline_in_equal_parts_and_gives_them_back() -> None:
    """Each cheap bar adds one part of ten; when the price is back, each bar takes one away."""
    strategy = DollarCostAveraging(
        DollarCostAveraging.Params(mean_bars=50, discount=0.05, parts=10)
    )
    weights = strategy.decide(bars(A=[100.0] * 70 + [80.0] * 8 + [100.0] * 12))["weight"]
    parts = [round(weight / 0.98 * 10, 9) for weight in weights.drop_nulls()]
    assert parts[-20:] == [*range(1, 9), 8, 8, *range(7, -1, -1), 0, 0]


def test_averaging_buys_nothing_that_is_not_cheap() -> None:
    """A rise is all cash."""
    weights = DollarCostAveraging().decide(bars(A=list(np.linspace(1, 3, 200))))["weight"]
    assert set(weights.drop_nulls()) == {0.0}


def test_composite_counts_its_views() -> None:
    """A riser that calms down has all three views, one that falls ever faster has none."""
    noise = np.random.default_rng(2).normal(0, 1, 200)
    calmer = 0.01 + noise * np.linspace(0.03, 0.002, 200)
    wilder = -0.01 - np.abs(noise) * np.linspace(0.002, 0.03, 200)
    table = bars(CALM=list(np.exp(np.cumsum(calmer))), WILD=list(np.exp(np.cumsum(wilder))))
    weights = last(Composite().decide(table))
    assert weights == {"CALM": pytest.approx(0.49), "WILD": 0.0}


def test_breakout_buys_a_new_high_and_leaves_at_the_middle_of_its_channel() -> None:
    """Nothing within the channel, bought on the bar above it, sold under its middle or in time."""
    flat = [100.0 + (-1) ** i for i in range(60)]
    strategy = Breakout(Breakout.Params(channel_bars=20, hold_bars=5, target_volatility=1.5))
    risen = [*flat, 103.0]
    assert last(strategy.decide(bars(A=flat)))["A"] == 0.0
    assert last(strategy.decide(bars(A=risen)))["A"] == pytest.approx(0.98)
    assert last(strategy.decide(bars(A=[*risen, 102.5])))["A"] == pytest.approx(0.98)
    assert last(strategy.decide(bars(A=[*risen, 99.0])))["A"] == 0.0
    assert last(strategy.decide(bars(A=[*risen, *[102.9] * 5])))["A"] == 0.0


def test_breakout_holds_half_of_what_moves_twice_as_much() -> None:
    """Both are over the target: risk is equal, and neither has more than its share."""
    random = np.random.default_rng(0).normal(0, 0.03, 120)
    random[-1] = 0.5
    table = bars(CALM=list(np.exp(np.cumsum(random))), WILD=list(np.exp(np.cumsum(2 * random))))
    weights = last(Breakout(Breakout.Params(target_volatility=0.2)).decide(table))
    assert weights["CALM"] == pytest.approx(2 * weights["WILD"])
    assert 0 < weights["CALM"] < 0.49


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@pytest.mark.parametrize("late", [1, LATE_BARS])
def test_late_bar_of_one_symbol_changes_no_weight_of_the_others(name: str, late: int) -> None:
    """B's newest bars come late. A keeps what it would have, and does not get B's share."""
    random = np.random.default_rng(7).normal(0, 0.002, (4, 140))
    drift = -0.002 if name in ("dca", "grid") else 0.004  # they buy what falls
    fall = np.concatenate([np.zeros(137), [-0.03, -0.03, -0.03]])  # oversold, for the reversion
    closes = {
        symbol: list(np.exp(np.cumsum(drift + random[k] + (name == "mean_reversion") * fall)))
        for k, symbol in enumerate("ABCD")
    }
    table = bars(**closes)
    newest = table["ts"].unique().sort()[-late:]
    is_late = (pl.col("symbol") == "B/USDT") & pl.col("ts").is_in(newest.implode())
    strategy = STRATEGIES[name]()
    whole, holed = strategy.decide(table), strategy.decide(table.filter(~is_late))
    at = pl.col("ts") == newest[-1]
    kept = whole.filter(at & (pl.col("symbol") != "B/USDT"))
    others = holed.filter(at)
    assert others["symbol"].to_list() == kept["symbol"].to_list()
    assert (kept["weight"] > 0).any()
    assert others["weight"].to_list() == pytest.approx(kept["weight"].to_list(), rel=0.05)


@pytest.mark.parametrize("name", ["ma_cross", "inverse_volatility"])
def test_late_bar_leaves_half_to_the_symbol_that_has_one(name: str) -> None:
    """Of two coins alike each has 0.49. B's newest bar is late: A keeps 0.49, not 0.98."""
    rise = list(np.linspace(1, 2, 140))
    table = bars(A=rise, B=rise)
    late = (pl.col("symbol") == "B/USDT") & (pl.col("ts") == table["ts"].max())
    strategy = STRATEGIES[name].from_params(
        {"max_weight": 1.0} if name == "inverse_volatility" else {}
    )
    decided = strategy.decide(table.filter(~late)).filter(pl.col("ts") == table["ts"].max())
    assert decided.select("symbol", "weight").rows() == [("A/USDT", pytest.approx(0.49, rel=0.01))]


def test_coin_that_vanished_is_not_counted_for_ever() -> None:
    """After LATE_BARS bars without one its share is free again."""
    rise = list(np.linspace(1, 2, 140))
    table = bars(A=rise, B=rise)
    gone = table["ts"].unique().sort()[-(LATE_BARS + 1) :]
    left = table.filter((pl.col("symbol") == "A/USDT") | ~pl.col("ts").is_in(gone.implode()))
    weights = MovingAverageCross().decide(left).filter(pl.col("symbol") == "A/USDT")["weight"]
    assert weights.tail(LATE_BARS + 2).to_list() == pytest.approx([0.49] * (LATE_BARS + 1) + [0.98])


def test_every_shipped_strategy_has_its_thesis_tested() -> None:
    """A strategy that is new in the table needs a test of what it claims, in this file."""
    tested = {
        MovingAverageCross,
        Momentum,
        MeanReversion,
        InverseVolatility,
        Breakout,
        Composite,
        DollarCostAveraging,
        Grid,
    }
    assert set(STRATEGIES.values()) == tested
