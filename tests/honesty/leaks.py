"""Strategies with a planted leak, and honest ones that look suspicious. Each is one function.

`LEAKS` and `HONEST` are tables by name. `planted(name)` makes a strategy of one.
"""

import functools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from penstock.core.strategy import FrameStrategy, Matrix, Panel, Strategy, StrategyParams

CLOSE, VOLUME = pl.col("close"), pl.col("volume")
RETURN = CLOSE / CLOSE.shift(1) - 1
NEXT_RETURN = CLOSE.shift(-1) / CLOSE - 1


class Planted(FrameStrategy):
    """One of the strategies of this file, by name."""

    name = "planted"

    class Params(StrategyParams):
        plan: str = "next_close"
        labels: str = ""
        """The file of labels, for what reads one."""
        symbol: str = ""
        """The symbol that a strategy is about, where it is about one."""
        close: float = 0.0
        """The close of the bar that a strategy peeks from, where it peeks once."""

    params: Params

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.fitted: tuple[float, float] | None = None

    @property
    def warmup_bars(self) -> int:
        return PLANS[self.params.plan][1]

    def frame_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
        return PLANS[self.params.plan][0](self, bars)


#: A planted strategy's function, and the warm-up that it declares.
Plan = tuple[Callable[[Planted, pl.DataFrame], pl.DataFrame], int]


def planted(name: str, **params: object) -> Planted:
    """Return a strategy of this file, by name."""
    return Planted(Planted.Params(plan=name, **params))


def write_labels(bars: pl.DataFrame, path: Path) -> None:
    """Write the next return of each bar to a file, as a study's labels are kept."""
    bars.select("symbol", "ts", label=NEXT_RETURN.over("symbol")).write_parquet(path)


def _weigh(bars: pl.DataFrame, score: pl.Expr | pl.Series) -> pl.DataFrame:
    """Hold a tenth, and up to a tenth more or less by the score; half a tenth without one."""
    weight = (0.1 + 0.1 * score.clip(-1, 1)).fill_nan(None).fill_null(0.05)
    return bars.select("symbol", "ts", weight=weight)


def _own(bars: pl.DataFrame, score: pl.Expr) -> pl.DataFrame:
    return _weigh(bars, score.over("symbol"))


# --- Leaks ----------------------------------------------------------------------------------------


def next_close(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """The close of the next bar: shift(-1)."""
    return _own(bars, 10 * NEXT_RETURN)


def next_open(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """The open of the next bar, taken for the price that is paid."""
    return _own(bars, 10 * (pl.col("open").shift(-1) / CLOSE - 1))


def next_volume(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """Whether the next bar has more volume."""
    return _own(bars, (VOLUME.shift(-1) > VOLUME).cast(pl.Float64))


def one_bar(strategy: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """The next close at one bar of one symbol, and nowhere else."""
    once = CLOSE.eq(strategy.params.close) & (pl.col("symbol") == strategy.params.symbol)
    return _own(bars, pl.when(once).then(10 * NEXT_RETURN).otherwise(10 * RETURN))


def one_bars_sign(strategy: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """Only whether the next bar of one bar rises."""
    once = CLOSE.eq(strategy.params.close) & (pl.col("symbol") == strategy.params.symbol)
    return _own(bars, (once & (NEXT_RETURN > 0)).cast(pl.Float64))


def near_the_end(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """The next close at the last bar but three of each symbol."""
    late = pl.int_range(pl.len()) == pl.len() - 4
    return _own(bars, pl.when(late).then(10 * NEXT_RETURN).otherwise(10 * RETURN))


def one_symbol(strategy: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """The next close of one symbol; all others are honest."""
    own = pl.col("symbol") == strategy.params.symbol
    return _own(bars, pl.when(own).then(10 * NEXT_RETURN).otherwise(10 * RETURN))


def shift_without_over(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """The bar before, of the whole table: the first bar of a symbol sees another's last."""
    return _weigh(bars, 10 * (CLOSE.shift(1) / CLOSE - 1))


def mean_without_over(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """A moving average of the whole table."""
    return _weigh(bars, CLOSE.rolling_mean(5, min_samples=1) / CLOSE - 1)


def rank_without_over(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """The rank of a return among all bars of all times."""
    return _weigh(bars, RETURN.rank() / pl.len())


def warm_up_peek(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """Fills the rows of the warm-up with the first value that is known after it."""
    early = pl.int_range(pl.len()) < 5
    return _own(bars, pl.when(early).then(10 * RETURN.shift(-5)).otherwise(10 * RETURN))


def lazy_scaler(strategy: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """A scaler that is fitted to the first bars that it is shown, and kept on the instance."""
    if strategy.fitted is None:
        strategy.fitted = _mean_and_deviation(bars)
    mean, deviation = strategy.fitted
    return _own(bars, (RETURN - mean) / deviation)


_FITTED: list[tuple[float, float]] = []


def module_scaler(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """The same, kept in the module."""
    if not _FITTED:
        _FITTED.append(_mean_and_deviation(bars))
    mean, deviation = _FITTED[0]
    return _own(bars, (RETURN - mean) / deviation)


def _mean_and_deviation(bars: pl.DataFrame) -> tuple[float, float]:
    row = bars.select(m=RETURN.mean(), s=RETURN.std()).row(0)
    return float(row[0]), float(row[1])


_LABELS: dict[tuple[str, datetime], float] = {}


def module_cache(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """Labels that are kept from one call to the next."""
    known = bars.select("symbol", "ts", NEXT_RETURN.over("symbol").alias("label")).drop_nulls()
    _LABELS.update({(symbol, ts): label for symbol, ts, label in known.iter_rows()})
    labels = [_LABELS.get(key) for key in bars.select("symbol", "ts").iter_rows()]
    return _weigh(bars, 10 * pl.Series("label", labels, dtype=pl.Float64))


@functools.cache
def _first_mean(_: str) -> list[float]:
    return []


def cached_function(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """A mean that is computed once and kept by functools.cache."""
    kept = _first_mean("close")
    if not kept:
        kept.append(float(bars["close"].mean()))  # type: ignore[arg-type]  # closes are floats
    return _weigh(bars, CLOSE / kept[0] - 1)


def file_of_labels(strategy: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """Labels from a file, which somebody computed from all bars."""
    labels = pl.read_parquet(strategy.params.labels)
    joined = bars.join(labels, on=["symbol", "ts"], how="left", maintain_order="left")
    return _weigh(joined, 10 * pl.col("label"))


def clock(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """How old a bar is today."""
    today = datetime.now(UTC)
    return _weigh(bars, (pl.col("ts") < today - timedelta(days=30)).cast(pl.Float64))


def hindsight_dates(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """Stays out of the months that are known to have been bad."""
    bad = pl.col("ts").is_between(
        datetime(2021, 5, 8, tzinfo=UTC), datetime(2021, 7, 20, tzinfo=UTC)
    )
    return _weigh(bars, bad.cast(pl.Float64))


def hindsight_symbol(strategy: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """Prefers the symbols that are known to have won, by how their names end in the code."""
    return _weigh(bars, pl.col("symbol").str.starts_with("C").cast(pl.Float64))


def centred_window(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """A moving average whose window has the bar in its middle."""
    return _own(bars, CLOSE / CLOSE.rolling_mean(5, center=True) - 1)


def backward_fill(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """Gaps of a signal are filled with what comes next."""
    return _own(bars, pl.when(RETURN > 0.02).then(10 * RETURN).backward_fill())


def whole_sample_z_score(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """Mean and deviation of all bars, those to come included."""
    return _own(bars, (CLOSE - CLOSE.mean()) / CLOSE.std())


def min_max(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """The place between the lowest and the highest close of all times."""
    return _own(bars, (CLOSE - CLOSE.min()) / (CLOSE.max() - CLOSE.min()))


def scaled_by_sklearn(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """A scikit-learn scaler that is fitted to all bars."""
    from sklearn.preprocessing import StandardScaler

    moves = bars.select(RETURN.over("symbol").fill_null(0.0)).to_numpy()
    scaled = StandardScaler().fit_transform(moves)[:, 0]
    return _weigh(bars.with_columns(scaled=pl.Series(scaled)), pl.col("scaled"))


def weekly_label(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """The week's close, labelled with the week's first day."""
    weekly = CLOSE.last().over("symbol", pl.col("ts").dt.truncate("1w"))
    return _weigh(bars, 5 * (weekly / CLOSE - 1))


def target_in_features(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """A least squares fit of the next return, over all bars."""
    table = bars.select(x=RETURN.over("symbol"), y=NEXT_RETURN.over("symbol"))
    known = table.drop_nulls().to_numpy()
    slope, level = np.polyfit(known[:, 0], known[:, 1], 1) if len(known) > 2 else (0.0, 0.0)
    return _own(bars, 10 * (slope * RETURN + level))


def future_listings(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """Equal parts of all symbols there are, also of those that are listed later."""
    return _weigh(bars, 1 / pl.col("symbol").n_unique())


def survivors(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """Only symbols that have a bar at the end of the table."""
    return _weigh(bars, (pl.col("ts").max().over("symbol") == pl.col("ts").max()).cast(pl.Float64))


def table_length(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """A window that is a tenth of the table."""
    return _own(bars, CLOSE / CLOSE.rolling_mean(max(2, bars.height // 100), min_samples=1) - 1)


def last_row(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """A rule of its own for the newest bar."""
    return _own(
        bars, pl.when(pl.int_range(pl.len()) == pl.len() - 1).then(0).otherwise(10 * RETURN)
    )


def unseeded_random(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """Chance, without a seed."""
    chance = pl.Series("chance", np.random.default_rng().uniform(size=bars.height))
    return _weigh(bars.with_columns(chance), pl.col("chance"))


def neighbours_future(strategy: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """The next close of one symbol decides about the others."""
    leader = bars.filter(pl.col("symbol") == strategy.params.symbol)
    joined = bars.join(
        leader.select("ts", lead=NEXT_RETURN), on="ts", how="left", maintain_order="left"
    )
    return _weigh(joined, 10 * pl.col("lead"))


#: The leaks that must be caught. The last few are more than the list of the issue has.
LEAKS: Mapping[str, Plan] = {
    "next_close": (next_close, 5),
    "next_open": (next_open, 5),
    "next_volume": (next_volume, 5),
    "near_the_end": (near_the_end, 5),
    "one_symbol": (one_symbol, 5),
    "shift_without_over": (shift_without_over, 1),
    "mean_without_over": (mean_without_over, 4),
    "rank_without_over": (rank_without_over, 5),
    "warm_up_peek": (warm_up_peek, 5),
    "lazy_scaler": (lazy_scaler, 5),
    "module_cache": (module_cache, 5),
    "file_of_labels": (file_of_labels, 5),
    "clock": (clock, 5),
    "hindsight_dates": (hindsight_dates, 5),
    "centred_window": (centred_window, 5),
    "backward_fill": (backward_fill, 5),
    "whole_sample_z_score": (whole_sample_z_score, 5),
    "min_max": (min_max, 5),
    "scaled_by_sklearn": (scaled_by_sklearn, 5),
    "weekly_label": (weekly_label, 7),
    "target_in_features": (target_in_features, 5),
    "future_listings": (future_listings, 5),
    "table_length": (table_length, 20),
    "last_row": (last_row, 5),
    "unseeded_random": (unseeded_random, 5),
    "one_bar": (one_bar, 5),
    "one_bars_sign": (one_bars_sign, 5),
    "module_scaler": (module_scaler, 5),
    "cached_function": (cached_function, 5),
    "hindsight_symbol": (hindsight_symbol, 5),
    "survivors": (survivors, 5),
    "neighbours_future": (neighbours_future, 5),
}


# --- Honest, and awkward --------------------------------------------------------------------------


def cross_sectional_rank(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """The rank of ten bars' return among the symbols of the same bar."""
    scores = bars.with_columns(score=(CLOSE / CLOSE.shift(10)).over("symbol"))
    return _weigh(scores, (pl.col("score").rank() / pl.col("score").count()).over("ts"))


def month_end(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """More on the last three days of a month, which the calendar knows."""
    day = pl.col("ts").dt
    return _weigh(bars, (day.month_end().dt.day() - day.day() < 3).cast(pl.Float64))


def deviation_of_price(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """The standard deviation of prices, not of returns: sensitive to rounding."""
    return _own(bars, CLOSE.rolling_std(20) / CLOSE)


def rolling_beta(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """The slope against the mean return of all symbols with a bar."""
    moves = bars.with_columns(own=RETURN.over("symbol"))
    moves = moves.with_columns(market=pl.col("own").mean().over("ts"))
    own, market = pl.col("own"), pl.col("market")
    covariance = (own * market).rolling_mean(30) - own.rolling_mean(30) * market.rolling_mean(30)
    return _own(moves, covariance / market.rolling_var(30))


def slow_ewm(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """An exponential average, with a warm-up after which nothing is left of what was before."""
    return _own(bars, CLOSE / CLOSE.ewm_mean(half_life=1, adjust=False) - 1)


def day_of_week(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """Nothing on Sundays, and a rebalance on each tenth day since 1970."""
    tenth = pl.col("ts").dt.epoch("d") % 10 == 0
    return _weigh(bars, (pl.col("ts").dt.weekday() < 7) / 2 + tenth.cast(pl.Float64) / 2)


def bounded_hysteresis(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """Bought above the upper bound, sold below the lower one; the last twenty bars say which."""
    gap = CLOSE / CLOSE.rolling_mean(10) - 1
    signal = pl.when(gap > 0.02).then(1.0).when(gap < -0.02).then(0.0)
    last = signal.forward_fill(limit=20)
    return _own(bars, last.fill_null(0.0))


def leader(strategy: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """All symbols while one rises, which a parameter names."""
    of_leader = bars.filter(pl.col("symbol") == strategy.params.symbol)
    joined = bars.join(
        of_leader.select("ts", lead=RETURN), on="ts", how="left", maintain_order="left"
    )
    return _weigh(joined, 10 * pl.col("lead"))


#: Honest strategies that must raise no alarm.
HONEST: Mapping[str, Plan] = {
    "cross_sectional_rank": (cross_sectional_rank, 10),
    "month_end": (month_end, 0),
    "deviation_of_price": (deviation_of_price, 19),
    "rolling_beta": (rolling_beta, 40),
    "slow_ewm": (slow_ewm, 45),
    "day_of_week": (day_of_week, 0),
    "bounded_hysteresis": (bounded_hysteresis, 29),
    "leader": (leader, 1),
}


# --- Honest, but they remember longer than they say -----------------------------------------------


def expanding_mean(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """The mean of all bars so far."""
    return _own(bars, CLOSE / (CLOSE.cum_sum() / CLOSE.cum_count()) - 1)


def hold_until_exit(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """Bought above the upper bound and held until the lower one, however long that takes."""
    gap = CLOSE / CLOSE.rolling_mean(10) - 1
    return _own(bars, pl.when(gap > 0.1).then(1.0).when(gap < -0.1).then(0.0).forward_fill())


def every_fifth_row(_: Planted, bars: pl.DataFrame) -> pl.DataFrame:
    """A rebalance each fifth row, counted from the first one."""
    return _own(bars, (pl.int_range(pl.len()) % 5 == 0).cast(pl.Float64))


#: Strategies whose warm-up is too short, and which see no later bars.
FORGETFUL: Mapping[str, Plan] = {
    "short_ewm": (slow_ewm, 20),
    "expanding_mean": (expanding_mean, 20),
    "hold_until_exit": (hold_until_exit, 20),
    "every_fifth_row": (every_fifth_row, 20),
    "short_warm_up": (rolling_beta, 12),
}

PLANS: Mapping[str, Plan] = {**LEAKS, **HONEST, **FORGETFUL}


# --- The same in arrays ---------------------------------------------------------------------------


class PlantedPanel(Strategy):
    """One of the strategies below, by name."""

    name = "planted_panel"
    Params = Planted.Params
    params: Planted.Params

    def __init__(self, params: Planted.Params | None = None) -> None:
        super().__init__(params)
        self.fitted: float | None = None

    @property
    def warmup_bars(self) -> int:
        return PANEL_PLANS[self.params.plan][1]

    def target_weights(self, panel: Panel) -> Matrix:
        return PANEL_PLANS[self.params.plan][0](self, panel)


#: A planted strategy's function over arrays, and the warm-up that it declares.
PanelPlan = tuple[Callable[[PlantedPanel, Panel], Matrix], int]


def planted_panel(name: str, **params: object) -> PlantedPanel:
    """Return a strategy over arrays, by name."""
    return PlantedPanel(Planted.Params(plan=name, **params))


def _level(score: Matrix) -> Matrix:
    """Hold a tenth, and up to a tenth more or less by the score; half a tenth without one."""
    finite = np.where(np.isfinite(score), score, -0.5)
    level: Matrix = 0.1 + 0.1 * np.clip(finite, -1, 1)
    return level


def rolled(_: PlantedPanel, panel: Panel) -> Matrix:
    """np.roll by -1: the next row, and in the last row the first one."""
    return _level(10 * (np.roll(panel.close, -1, axis=0) / panel.close - 1))


def next_of_indicator(_: PlantedPanel, panel: Panel) -> Matrix:
    """An indicator of the user's own that looks one bar ahead."""
    return _level(10 * (panel.indicator(_next_value) / panel.close - 1))


def _next_value(close: Matrix) -> Matrix:
    return np.append(close[1:], np.nan)


def next_volume_row(_: PlantedPanel, panel: Panel) -> Matrix:
    """The volume of the next row."""
    return _level((np.roll(panel.volume, -1, axis=0) > panel.volume).astype(float))


def mean_of_all_rows(_: PlantedPanel, panel: Panel) -> Matrix:
    """The mean over all rows, those to come included."""
    return _level(panel.close / np.nanmean(panel.close, axis=0) - 1)


def last_close(_: PlantedPanel, panel: Panel) -> Matrix:
    """The last row as the unit of all."""
    newest = np.where(np.isnan(panel.close[-1]), panel.close[0], panel.close[-1])
    return _level(panel.close / newest - 1)


def filled_backwards(_: PlantedPanel, panel: Panel) -> Matrix:
    """Rows without a bar get the next value, and the move into it."""
    filled = panel.close.copy()
    for row in range(len(filled) - 2, -1, -1):
        filled[row] = np.where(np.isnan(filled[row]), filled[row + 1], filled[row])
    return _level(10 * (np.nan_to_num(np.roll(filled, -3, axis=0) / filled - 1, nan=0.0)))


def convolved(_: PlantedPanel, panel: Panel) -> Matrix:
    """A convolution whose window has the row in its middle."""
    smooth = panel.indicator(_convolved)
    return _level(panel.close / smooth - 1)


def _convolved(close: Matrix) -> Matrix:
    return np.convolve(close, np.full(5, 0.2), mode="same")


def count_of_symbols(_: PlantedPanel, panel: Panel) -> Matrix:
    """Equal parts of all columns, also of those that are listed later."""
    return np.full(panel.close.shape, 1 / (2 * len(panel.symbols)))


def fitted_once(strategy: PlantedPanel, panel: Panel) -> Matrix:
    """A mean of the first panel that it sees, kept on the instance."""
    if strategy.fitted is None:
        strategy.fitted = float(np.nanmean(panel.close))
    return _level(panel.close / strategy.fitted - 1)


def dates_in_the_code(_: PlantedPanel, panel: Panel) -> Matrix:
    """Out of the market in a month that is known to have been bad."""
    bad = (panel.ts.dt.year() == 2021) & (panel.ts.dt.month() == 5)
    return np.repeat(np.where(bad.to_numpy(), 0.0, 0.1)[:, None], len(panel.symbols), axis=1)


def row_of_the_panel(_: PlantedPanel, panel: Panel) -> Matrix:
    """The next close in one row, by its number from the end."""
    weights = _level(10 * (panel.close / panel.close - 1))
    weights[-3] = _level(10 * (panel.close[-2] / panel.close[-3] - 1))
    return weights


def one_cell(strategy: PlantedPanel, panel: Panel) -> Matrix:
    """The next close at one bar of one symbol."""
    ahead = 10 * (np.roll(panel.close, -1, axis=0) / panel.close - 1)
    return _level(np.where(panel.close == strategy.params.close, ahead, 0.0))


def one_cells_shape(strategy: PlantedPanel, panel: Panel) -> Matrix:
    """Only whether the bar after one bar closes above its open."""
    rises = np.roll(panel.close, -1, axis=0) > np.roll(panel.open, -1, axis=0)
    return _level(((panel.close == strategy.params.close) & rises).astype(float))


def one_cell_far(strategy: PlantedPanel, panel: Panel) -> Matrix:
    """Whether the price is higher fifteen bars after one bar."""
    rises = np.roll(panel.close, -15, axis=0) > panel.close
    return _level(((panel.close == strategy.params.close) & rises).astype(float))


#: Leaks in arrays. All must be caught.
PANEL_LEAKS: Mapping[str, PanelPlan] = {
    "rolled": (rolled, 5),
    "next_of_indicator": (next_of_indicator, 5),
    "next_volume_row": (next_volume_row, 5),
    "mean_of_all_rows": (mean_of_all_rows, 5),
    "last_close": (last_close, 5),
    "filled_backwards": (filled_backwards, 5),
    "convolved": (convolved, 5),
    "count_of_symbols": (count_of_symbols, 5),
    "fitted_once": (fitted_once, 5),
    "dates_in_the_code": (dates_in_the_code, 5),
    "row_of_the_panel": (row_of_the_panel, 5),
    "one_cell": (one_cell, 5),
    "one_cells_shape": (one_cells_shape, 5),
    "one_cell_far": (one_cell_far, 5),
}


def ranked(_: PlantedPanel, panel: Panel) -> Matrix:
    """The rank of ten bars' return among the symbols."""
    score = panel.momentum(10)
    return _level(panel.rank(score) / panel.count(score))


def volatility_target(_: PlantedPanel, panel: Panel) -> Matrix:
    """A year's volatility against a target."""
    return _level(0.01 / panel.std(365, of=panel.log_returns()))


#: Honest strategies in arrays.
PANEL_HONEST: Mapping[str, PanelPlan] = {
    "ranked": (ranked, 16),
    "volatility_target": (volatility_target, 365),
}


def long_mean(_: PlantedPanel, panel: Panel) -> Matrix:
    """A moving average of more bars than it says."""
    return _level(panel.close / panel.sma(40) - 1)


#: A strategy in arrays whose warm-up is too short.
PANEL_FORGETFUL: Mapping[str, PanelPlan] = {"long_mean": (long_mean, 10)}

PANEL_PLANS: Mapping[str, PanelPlan] = {**PANEL_LEAKS, **PANEL_HONEST, **PANEL_FORGETFUL}
