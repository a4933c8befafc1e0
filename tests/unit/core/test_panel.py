"""Panels: their shape, what they keep, and that nothing sees a later row."""

import pickle
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.auxiliary_series import read_series
from penstock.core.bars import BARS_SCHEMA, resample
from penstock.core.errors import DataError, StrategyError
from penstock.core.late_bars import LATE_BARS
from penstock.core.named_indicators import Matrix
from penstock.core.panel import Panel
from penstock.core.panel_frames import panel_of, panel_of_closes
from penstock.core.strategy import FrameStrategy, Strategy, StrategyParams, signal
from penstock.core.timeframes import Timeframe

START = datetime(2024, 1, 1, tzinfo=UTC)
NAN = np.nan


def random_panel(seed: int, rows: int = 90, symbols: int = 4, holes: float = 0.1) -> Panel:
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.05, (rows, symbols)), axis=0))
    close[random.random(close.shape) < holes] = NAN
    names = [f"S{k}" for k in range(symbols)]
    return panel_of_closes(dict(zip(names, close.T.tolist(), strict=True)), Timeframe.H1)


#: Those that depend on the last 21 bars of a symbol at most.
BOUNDED: dict[str, Callable[[Panel], Matrix]] = {
    "shift": lambda p: p.shift(5),
    "returns": lambda p: p.returns(3),
    "log_returns": lambda p: p.log_returns(3),
    "momentum": lambda p: p.momentum(5, skip=2),
    "sum": lambda p: p.sum(9),
    "sma": lambda p: p.sma(9),
    "wma": lambda p: p.wma(9),
    "std": lambda p: p.std(9, of=p.log_returns()),
    "zscore": lambda p: p.zscore(9),
    "max": lambda p: p.max(9),
    "min": lambda p: p.min(9),
    "bollinger": lambda p: p.bollinger(9).lower,
    "donchian": lambda p: p.donchian(9, skip=1).upper,
    "rsi": lambda p: p.rsi(9),
    "stochastic": lambda p: p.stochastic(9),
    "atr": lambda p: p.atr(9),
    "vwap": lambda p: p.vwap(9),
    "correlation": lambda p: p.correlation(9, "close", p.log_returns()),
    "beta": lambda p: p.beta(9, "close", on=p.returns()),
}
#: Those that remember every bar.
UNBOUNDED: dict[str, Callable[[Panel], Matrix]] = {
    "ema": lambda p: p.ema(9),
    "rsi of Wilder": lambda p: p.rsi(9, mean="wilder"),
    "atr of Wilder": lambda p: p.atr(9, mean="wilder"),
    "rank": lambda p: p.rank(p.close),
    "total": lambda p: p.total(p.close),
    "symbol": lambda p: p.symbol("S1"),
    "at": lambda p: p.with_timeframes({"slow": Timeframe.H4}).at("slow").sma(3),
}


@pytest.mark.parametrize("name", [*BOUNDED, *UNBOUNDED])
@given(seed=st.integers(0, 10_000), cut=st.integers(1, 89))
@settings(max_examples=12)
def test_no_indicator_sees_a_later_row(name: str, seed: int, cut: int) -> None:
    """The value of a row is the same, to the last digit, whatever comes after it."""
    ask = {**BOUNDED, **UNBOUNDED}[name]
    panel = random_panel(seed)
    found, before = ask(panel), ask(panel.part(0, cut))
    assert np.array_equal(found[:cut], before, equal_nan=True)
    other = random_panel(seed + 1)
    values = np.vstack([panel.close[:cut], other.close[cut:]])
    mixed = Panel(panel.timeframe, panel.ts, panel.symbols, *[values] * 5)
    whole = Panel(panel.timeframe, panel.ts, panel.symbols, *[panel.close] * 5)
    assert np.array_equal(ask(mixed)[:cut], ask(whole)[:cut], equal_nan=True)


@pytest.mark.parametrize("name", BOUNDED)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=8)
def test_indicator_depends_on_no_older_bars_than_its_window(name: str, seed: int) -> None:
    """Each symbol's last 21 bars give the last value that the whole history gives."""
    panel = random_panel(seed)
    table = panel.bars.group_by("symbol", maintain_order=True).tail(21)
    window = panel_of(table, panel.timeframe)
    row = np.flatnonzero(panel.present.all(axis=1))[-1]
    at = window.ts.to_list().index(panel.ts[int(row)])
    found = BOUNDED[name](panel)[row]
    recent = panel.present[row:].sum(axis=0) <= 3  # enough of the 21 bars are before the row
    assert BOUNDED[name](window)[at][recent] == pytest.approx(found[recent], rel=1e-9, nan_ok=True)


def test_panel_and_its_long_frame_are_the_same_bars() -> None:
    """A frame in any order makes the panel, and the panel makes the frame again."""
    panel = random_panel(1)
    again = panel_of(panel.bars.sample(fraction=1, shuffle=True, seed=2), Timeframe.H1)
    assert again.bars.equals(panel.bars)
    assert again.bars.schema == BARS_SCHEMA
    assert np.array_equal(again.close, panel.close, equal_nan=True)


def test_two_bars_of_one_time_are_refused() -> None:
    """No rule says which of them counts."""
    bars = random_panel(1).bars
    with pytest.raises(DataError, match="two bars with the same open time"):
        panel_of(pl.concat([bars, bars.head(1)]), Timeframe.H1)


def test_arrays_of_another_shape_are_refused() -> None:
    """All fields have one row per bar and one column per symbol."""
    panel = random_panel(1)
    with pytest.raises(DataError, match=r"high of a panel has shape \(2, 2\), its bars \(90, 4\)"):
        Panel(
            panel.timeframe,
            panel.ts,
            panel.symbols,
            panel.open,
            np.ones((2, 2)),
            panel.low,
            panel.close,
            panel.volume,
        )


def test_no_strategy_can_change_the_arrays_of_another() -> None:
    """Fields and indicators are read-only, whatever an indicator of the user's returns."""
    kept = np.arange(90.0)

    def same_object(close: Matrix) -> Matrix:
        close *= 2
        return kept

    panel = random_panel(1, holes=0.0)
    before = panel.close.copy()
    for array in (panel.close, panel.sma(5), panel.indicator(same_object)):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert np.array_equal(panel.close, before)
    kept[:] = 7
    assert panel.indicator(same_object)[0, 0] == 7  # made inside another function: never kept


def times(close: Matrix, factor: float) -> Matrix:
    return close * factor


def test_indicator_is_computed_once_and_known_by_its_arguments() -> None:
    """The same array comes back; 1, 1.0 and True are three arguments."""
    panel = random_panel(1)
    assert panel.sma(5) is panel.sma(5)
    assert panel.sma(5) is panel.sma(5, of=panel.close)
    assert panel.sma(5) is not panel.sma(6)
    assert panel.indicator(times, 2) is panel.indicator(times, 2)
    assert panel.indicator(times, 1) is not panel.indicator(times, True)
    returns = panel.log_returns()
    assert panel.std(5, of=returns) is panel.std(5, of=panel.log_returns())
    mine = returns.copy()
    assert panel.std(5, of=mine) is not panel.std(5, of=mine)
    mine[:] = 1.0
    assert np.nanmax(panel.std(5, of=mine)) == 0.0


def test_indicators_of_arrays_that_were_collected_are_not_confused() -> None:
    """A new array may have the address of an old one: its indicator is computed anew."""
    panel = random_panel(1, holes=0.0)
    for number in range(200):
        array = np.full(panel.close.shape, float(number))
        assert panel.sma(3, of=array)[-1, 0] == number
        del array


def test_cache_is_bounded_in_bytes_and_forgets_the_oldest_use() -> None:
    """Three arrays fit: the fourth takes the place of the one that was not asked for longest."""
    panel = random_panel(1, holes=0.0)
    small = Panel(
        panel.timeframe,
        panel.ts,
        panel.symbols,
        *[panel.close] * 5,
        cache_bytes=3 * panel.close.nbytes,
    )
    first, second, third = small.sma(2), small.sma(3), small.sma(4)
    assert small.sma(2) is first
    small.sma(5)
    assert small.sma(2) is first
    assert small.sma(4) is third
    assert small.sma(3) is not second
    for n in range(2, 60):
        small.sma(n)
    assert small._cache.held == 3 * panel.close.nbytes
    assert len(small._cache._keys) == 3


def test_panel_goes_to_another_process_without_its_indicators() -> None:
    """What was computed is computed there again, and the arrays are read-only there too."""
    panel = random_panel(1)
    panel.sma(5)
    again = pickle.loads(pickle.dumps(panel))
    assert np.array_equal(again.sma(5), panel.sma(5), equal_nan=True)
    assert len(pickle.dumps(panel)) < 6 * panel.close.nbytes
    assert not again.close.flags.writeable


def test_threads_may_share_a_panel() -> None:
    """Four threads ask for the same windows and all get the right numbers."""
    panel = random_panel(3, rows=400)
    wanted = {n: random_panel(3, rows=400).sma(n) for n in range(2, 30)}
    wrong: list[int] = []

    def ask() -> None:
        for _ in range(20):
            wrong.extend(
                n for n, array in wanted.items() if not np.array_equal(panel.sma(n), array, True)
            )

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_function_of_the_users_gets_own_bars_only() -> None:
    """A symbol with a hole gives its bars without it, and gets the answers at its rows."""
    panel = panel_of_closes({"A": [1.0, NAN, 2.0, 4.0], "B": [NAN, 5.0, 6.0, NAN]})

    def change(close: Matrix) -> Matrix:
        assert not np.isnan(close).any()
        return np.diff(close, prepend=close[:1])

    assert panel.indicator(change) == pytest.approx(
        np.array([[0, NAN], [NAN, 0], [1, 1], [2, NAN]]), nan_ok=True
    )
    rolling = panel.indicator(lambda close, n: pl.Series(close).rolling_mean(n), 2)
    assert rolling == pytest.approx(panel.sma(2), nan_ok=True)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda p: p.indicator(lambda close: close[1:]), r"returns shape \(\d+,\) for a symbol of"),
        (lambda p: p.indicator(lambda close: (close, close)), r"2 arrays and not 1.*outputs=2"),
        (lambda p: p.sma(0), "over 0 bars: it takes a whole number from 1"),
        (lambda p: p.std(1), "from 2"),
        (lambda p: p.sma(2.5), "over 2.5 bars"),
        (lambda p: p.sma(2, of="price"), "no field 'price': it has open, high, low"),
        (lambda p: p.sma(2, of=np.ones((3, 3))), r"an array of shape \(3, 3\)"),
        (lambda p: p.symbol("X"), "no symbol 'X'"),
        (lambda p: p.at("trend"), "timeframes = {'trend': '4h'}"),
        (lambda p: p.series("funding"), "no series 'funding' was given"),
    ],
)
def test_what_a_panel_cannot_do_is_said(ask: Callable[[Panel], object], message: str) -> None:
    """The message says what was asked, and what there is."""
    with pytest.raises(StrategyError, match=message):
        ask(random_panel(1))


def test_panel_that_is_used_as_a_frame_names_the_way_out() -> None:
    """Whoever writes `bars.with_columns` as before is told of FrameStrategy."""
    with pytest.raises(AttributeError, match="derives from FrameStrategy"):
        random_panel(1).with_columns  # type: ignore[attr-defined]  # noqa: B018


def test_late_bar_counts_for_five_bars_and_no_longer() -> None:
    """B ends: its last score counts in LATE_BARS rows after it. C was never there before."""
    rows = LATE_BARS + 4
    panel = panel_of_closes(
        {"A": [1.0] * rows, "B": [2.0, 3.0] + [NAN] * (rows - 2), "C": [NAN] * (rows - 1) + [9.0]}
    )
    counted = panel.count(panel.close).ravel()
    assert counted.tolist() == [2.0] * (2 + LATE_BARS) + [1.0, 2.0]
    assert panel.total(panel.close).ravel()[2] == 4.0
    assert np.isnan(panel.decided(panel.rank(panel.close))[2, 1])


class HalfWhileUp(Strategy):
    """Half while the longer close is above its mean, and the funding is not negative."""

    name = "half_while_up"
    Params = StrategyParams
    timeframes: ClassVar = {"trend": "4h"}
    series = ("funding",)
    warmup_bars = 0

    @property
    def further_warmup(self) -> dict[str, int]:
        return {"trend": 3}

    def target_weights(self, panel: Panel) -> Matrix:
        trend = panel.at("trend")
        above, funding = trend.field("close") / trend.sma(3) - 1, panel.series("funding")
        return signal((above > 0) & (funding >= 0), above, funding) / 2


def test_longer_bar_is_seen_once_it_has_closed() -> None:
    """Hourly rows see the four-hour bar that closed at their own close, and none before it."""
    closes = [float(n) for n in range(12)]
    panel = panel_of_closes({"A": closes}, Timeframe.H1).with_timeframes({"slow": Timeframe.H4})
    seen = panel.at("slow").field("close").ravel()
    assert seen.tolist() == pytest.approx([NAN] * 3 + [3.0] * 4 + [7.0] * 4 + [11.0], nan_ok=True)


def test_longer_bar_in_which_a_symbol_is_listed_does_not_count() -> None:
    """A warm window would begin in another bar than the history: neither has the first part."""
    closes = [NAN, *(float(n) for n in range(1, 9))]
    panel = panel_of_closes({"A": closes}, Timeframe.H1).with_timeframes({"slow": Timeframe.H4})
    seen = panel.at("slow").field("close").ravel()
    assert seen == pytest.approx(np.array([NAN] * 7 + [7.0] * 2), nan_ok=True)


@given(seed=st.integers(0, 10_000), row=st.integers(0, 89))
@settings(max_examples=40)
def test_longer_bars_are_those_of_the_long_frame_and_closed(seed: int, row: int) -> None:
    """Whatever is missing: a row sees the symbol's newest resampled bar that has closed."""
    panel = random_panel(seed, holes=0.3).with_timeframes({"slow": Timeframe.H4})
    further = panel.at("slow")
    longer = resample(panel.bars, Timeframe.H4)
    first = panel.bars.group_by("symbol").agg(begin=pl.col("ts").min())
    kept = longer.join(first, on="symbol").filter(pl.col("ts") >= pl.col("begin"))
    close = panel.ts[row] + timedelta(hours=1)
    for column, symbol in enumerate(panel.symbols):
        known = kept.filter(
            pl.col("symbol") == symbol, pl.col("ts") + pl.duration(hours=4) <= close
        ).sort("ts")
        for name in ("open", "high", "low", "close", "volume"):
            found = further.field(name)[row, column]
            if known.is_empty() or not panel.present[row, column]:
                assert np.isnan(found)
            else:
                assert found == pytest.approx(known[name][-1])


def test_strategy_decides_with_its_timeframe_and_its_series() -> None:
    """Both arrive declared: undeclared or missing ones are errors, and a warm window decides as the
    whole history does.
    """
    panel = random_panel(5, rows=120, symbols=2, holes=0.0)
    funding = pl.DataFrame(
        {
            "ts": [START + timedelta(hours=8 * n) for n in range(15)],
            "value": [(-1.0) ** n for n in range(15)],
        }
    )
    strategy = HalfWhileUp()
    with pytest.raises(StrategyError, match=r"needs the series \['funding'\]"):
        strategy.decide(panel.bars, Timeframe.H1)
    decided = strategy.decide(panel.bars, Timeframe.H1, {"funding": funding})
    assert set(decided["weight"].drop_nulls()) == {0.0, 0.5}
    assert strategy.warmup(Timeframe.H1) == 20
    for row in range(60, 120, 9):
        window = panel.part(row - strategy.warmup(Timeframe.H1), row + 1).bars
        last = strategy.decide(window, Timeframe.H1, {"funding": funding}).filter(
            pl.col("ts") == panel.ts[row]
        )
        assert last.equals(decided.filter(pl.col("ts") == panel.ts[row]))


def test_series_is_known_from_its_own_time_on(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A value of half past two is known at the close of three, not at that of two."""
    at = START + timedelta(hours=1, minutes=30)
    frame = pl.DataFrame({"symbol": ["A"], "ts": [at], "value": [7.0]})
    path = tmp_path_factory.mktemp("series") / "funding.parquet"
    frame.write_parquet(path)
    bars = panel_of_closes({"A": [1.0] * 3, "B": [1.0] * 3}, Timeframe.H1).bars
    panel = panel_of(bars, Timeframe.H1, {"funding": read_series(path)})
    assert panel.series("funding") == pytest.approx(
        np.array([[NAN, NAN], [7.0, NAN], [7.0, NAN]]), nan_ok=True
    )


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"ts": [START]}), r"columns \['value'\] are missing"),
        (pl.DataFrame({"ts": ["x"], "value": [1.0]}), "wrong type"),
        (pl.DataFrame({"ts": [START] * 2, "value": [1.0] * 2}), "two values of one time"),
        (pl.DataFrame({"ts": [START], "value": [1.0]}).to_pandas(), "pandas DataFrame"),
    ],
)
def test_series_of_another_form_is_refused(frame: pl.DataFrame, message: str) -> None:
    """The message names the series and what is wrong."""
    with pytest.raises(DataError, match=f"series 'funding'.*{message}"):
        panel_of(random_panel(1).bars, Timeframe.H1, {"funding": frame})


class Given(Strategy):
    """Returns what it is told to."""

    name = "given"
    Params = StrategyParams
    warmup_bars = 0
    answer: object = None

    def target_weights(self, panel: Panel) -> Matrix:
        return self.answer  # type: ignore[return-value]  # what a user may do


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (pl.DataFrame({"weight": [1.0]}), "it is a DataFrame and no array.*FrameStrategy"),
        (None, "it is a NoneType and no array"),
        (np.ones((90, 1)), r"float64 of shape \(90, 1\): they are float64 of shape \(90, 4\)"),
        (np.ones((90, 4), dtype=bool), "bool of shape"),
        (np.full((90, 4), 1.5), "weight 1.5 for S0 at 2024-01-01"),
        (np.full((90, 4), np.inf), "weight inf for S0"),
        (np.full((90, 4), -np.inf), "weight -inf for S0"),
    ],
)
def test_weights_of_another_form_are_refused(answer: object, message: str) -> None:
    """The message says what came back, and what is wanted."""
    strategy = Given()
    strategy.answer = answer
    with pytest.raises(StrategyError, match=message):
        strategy.weights(random_panel(1, holes=0.0))


def test_weight_where_a_symbol_has_no_bar_is_no_decision() -> None:
    """A strategy may fill its whole array."""
    strategy, panel = Given(), panel_of_closes({"A": [1.0, NAN], "B": [1.0, 1.0]})
    strategy.answer = np.full((2, 2), 0.5)
    assert strategy.weights(panel) == pytest.approx(np.array([[0.5, 0.5], [NAN, 0.5]]), nan_ok=True)


def test_strategy_of_the_former_contract_is_refused_when_it_is_written() -> None:
    """Its class cannot be made: it says what to derive from."""
    with pytest.raises(StrategyError, match="derives from FrameStrategy"):

        class Former(Strategy):
            def target_weights(self, bars: pl.DataFrame) -> pl.DataFrame:  # type: ignore[override]
                return bars


def test_frame_strategy_gives_the_weights_of_its_frame() -> None:
    """A long frame in, the same array out; a bar that it leaves out is an error."""

    class Reciprocal(FrameStrategy):
        name = "reciprocal"
        Params = StrategyParams
        warmup_bars = 0
        rows = 1.0

        def frame_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
            assert bars.schema == BARS_SCHEMA
            return bars.select("symbol", "ts", weight=0.1 / pl.col("close")).sample(
                fraction=self.rows, shuffle=True, seed=1
            )

    panel = random_panel(1)
    assert np.array_equal(Reciprocal().weights(panel), 0.1 / panel.close, equal_nan=True)
    fewer = Reciprocal()
    fewer.rows = 0.5
    with pytest.raises(StrategyError, match="one row for each bar"):
        fewer.weights(panel)
