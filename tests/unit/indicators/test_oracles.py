"""Each named indicator against an independent one, on bars with holes, listings and delistings."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from penstock.core.named_indicators import Matrix, signal
from penstock.core.panel import Panel
from penstock.core.panel_frames import panel_of_closes
from penstock.core.timeframes import Timeframe
from penstock.indicators import across, changes, comoments, compiled, smoothing, windows
from penstock.indicators.warm_up import warm_up

ROWS, SYMBOLS = 240, 6


def _panel(holes: bool) -> Panel:
    """Return random bars of six symbols; with holes each lacks some, two begin late, one ends."""
    random = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.02, (ROWS, SYMBOLS)), axis=0))
    close[60:90, 2] = close[60, 2]  # a price that does not move
    open_ = close * np.exp(random.normal(0, 0.01, close.shape))
    high = np.maximum(open_, close) * (1 + random.random(close.shape) * 0.01)
    low = np.minimum(open_, close) * (1 - random.random(close.shape) * 0.01)
    volume = random.lognormal(size=close.shape)
    absent = random.random(close.shape) < 0.05 * holes
    absent[: 50 * holes, 1] = absent[: 90 * holes, 4] = absent[ROWS - 30 * holes :, 3] = True
    values = [np.where(absent, np.nan, each) for each in (open_, high, low, close, volume)]
    plain = panel_of_closes({f"S{k}": [1.0] * ROWS for k in range(SYMBOLS)}, Timeframe.H1)
    return Panel(Timeframe.H1, plain.ts, plain.symbols, *values)


WHOLE, HOLED = _panel(False), _panel(True)


def _series(panel: Panel, column: int) -> pd.DataFrame:
    """Return a symbol's own bars."""
    fields = {name: getattr(panel, name)[:, column] for name in ("open", "high", "low", "close")}
    return pd.DataFrame({**fields, "volume": panel.volume[:, column]})[panel.present[:, column]]


def _true_range(bars: pd.DataFrame) -> pd.Series:
    before = bars["close"].shift()
    ways = [
        bars["high"] - bars["low"],
        (bars["high"] - before).abs(),
        (bars["low"] - before).abs(),
    ]
    return pd.concat(ways, axis=1).max(axis=1).where(before.notna())


def _rsi(close: pd.Series, n: int) -> pd.Series:
    change = close.diff()
    gains = change.clip(lower=0).rolling(n).sum()
    moves = change.abs().rolling(n).sum()
    return (100 * gains / moves).where(moves > 1e-12, 50.0).where(moves.notna())


def _wilder(values: pd.Series, n: int) -> pd.Series:
    """Wilder's mean in a naive loop."""
    numbers = values.dropna()
    out = pd.Series(np.nan, values.index)
    mean = numbers.iloc[:n].mean()
    out[numbers.index[n - 1]] = mean
    for at in numbers.index[n:]:
        mean = (mean * (n - 1) + numbers[at]) / n
        out[at] = mean
    return out


def _naive(values: pd.Series, n: int, of: Callable[[Any], float]) -> pd.Series:
    rows = [
        of(values.iloc[t - n + 1 : t + 1].to_numpy()) if t >= n - 1 else np.nan
        for t in range(len(values))
    ]
    return pd.Series(rows, values.index)


def _zscore(close: pd.Series, n: int) -> pd.Series:
    return _naive(close, n, lambda w: (w[-1] - w.mean()) / w.std(ddof=1) if np.ptp(w) else 0.0)


def _stochastic(b: pd.DataFrame, n: int) -> pd.Series:
    low, high = b["low"].rolling(n).min(), b["high"].rolling(n).max()
    return 100 * (b["close"] - low) / (high - low)


def _vwap(b: pd.DataFrame, n: int) -> pd.Series:
    price = (b["high"] + b["low"] + b["close"]) / 3
    return (price * b["volume"]).rolling(n).sum() / b["volume"].rolling(n).sum()


def _returns(b: pd.DataFrame) -> pd.Series:
    return b["close"] / b["close"].shift() - 1


#: By name: what the panel says, and what an independent computation says of one symbol's own bars.
ORACLES: dict[str, tuple[Callable[[Panel], Matrix], Callable[[pd.DataFrame], pd.Series]]] = {
    "shift": (lambda p: p.shift(3), lambda b: b["close"].shift(3)),
    "returns": (lambda p: p.returns(2), lambda b: b["close"] / b["close"].shift(2) - 1),
    "log_returns": (lambda p: p.log_returns(), lambda b: np.log(b["close"]).diff()),
    "momentum": (
        lambda p: p.momentum(10, skip=2),
        lambda b: b["close"].shift(2) / b["close"].shift(12) - 1,
    ),
    "sum": (lambda p: p.sum(7, of="volume"), lambda b: b["volume"].rolling(7).sum()),
    "sma": (lambda p: p.sma(20), lambda b: b["close"].rolling(20).mean()),
    "wma": (
        lambda p: p.wma(9),
        lambda b: _naive(b["close"], 9, lambda w: np.average(w, weights=np.arange(1, 10))),
    ),
    "ema": (
        lambda p: p.ema(12),
        lambda b: b["close"].ewm(span=12, adjust=True, min_periods=12).mean(),
    ),
    "std": (lambda p: p.std(15), lambda b: _naive(b["close"], 15, lambda w: w.std(ddof=1))),
    "std of returns": (
        lambda p: p.std(15, of=p.log_returns()),
        lambda b: np.log(b["close"]).diff().rolling(15).std(),
    ),
    "zscore": (lambda p: p.zscore(10), lambda b: _zscore(b["close"], 10)),
    "max": (lambda p: p.max(11), lambda b: b["high"].rolling(11).max()),
    "min": (lambda p: p.min(11), lambda b: b["low"].rolling(11).min()),
    "bollinger": (
        lambda p: p.bollinger(20, 2.5).upper,
        lambda b: _naive(b["close"], 20, lambda w: w.mean() + 2.5 * w.std(ddof=1)),
    ),
    "donchian": (
        lambda p: p.donchian(20, skip=1).middle,
        lambda b: (b["low"].rolling(20).min() + b["high"].rolling(20).max()).shift() / 2,
    ),
    "rsi": (lambda p: p.rsi(14), lambda b: _rsi(b["close"], 14)),
    "stochastic": (lambda p: p.stochastic(14), lambda b: _stochastic(b, 14)),
    "true_range": (lambda p: p.true_range(), _true_range),
    "atr": (lambda p: p.atr(14), lambda b: _true_range(b).rolling(14).mean()),
    "atr of Wilder": (lambda p: p.atr(14, mean="wilder"), lambda b: _wilder(_true_range(b), 14)),
    "vwap": (lambda p: p.vwap(10), lambda b: _vwap(b, 10)),
    "correlation": (
        lambda p: p.correlation(20, p.returns(), "volume"),
        lambda b: _returns(b).rolling(20).corr(b["volume"]),
    ),
    "beta": (
        lambda p: p.beta(20, p.returns(), on="volume"),
        lambda b: _returns(b).rolling(20).cov(b["volume"]) / b["volume"].rolling(20).var(),
    ),
}


@pytest.mark.parametrize("panel", [WHOLE, HOLED], ids=["whole", "holes"])
@pytest.mark.parametrize("name", ORACLES)
def test_indicator_is_that_of_an_independent_computation(name: str, panel: Panel) -> None:
    """Equal to ten digits, and NaN in the same places: windows count a symbol's own bars."""
    ask, oracle = ORACLES[name]
    found = ask(panel)
    wanted = np.full(panel.close.shape, np.nan)
    for column in range(SYMBOLS):
        bars = _series(panel, column)
        wanted[bars.index, column] = oracle(bars).to_numpy()
    if name == "correlation":  # a correlation with what did not move is no number here, noise there
        wanted[60:120, 2] = found[60:120, 2]
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    assert np.isfinite(found).any()


def test_every_named_indicator_has_an_oracle() -> None:
    """A new one is compared too."""
    from penstock.core.named_indicators import Indicators

    public = {name for name in vars(Indicators) if not name.startswith("_")}
    assert public <= {name.split(" ")[0] for name in ORACLES}


TALIB: dict[str, tuple[Callable[[Panel], Matrix], Callable[[Any, pd.DataFrame], Any]]] = {
    "SMA": (lambda p: p.sma(20), lambda t, b: t.SMA(b["close"].to_numpy(), 20)),
    "WMA": (lambda p: p.wma(20), lambda t, b: t.WMA(b["close"].to_numpy(), 20)),
    "RSI": (lambda p: p.rsi(14, mean="wilder"), lambda t, b: t.RSI(b["close"].to_numpy(), 14)),
    "ATR": (
        lambda p: p.atr(14, mean="wilder"),
        lambda t, b: t.ATR(*(b[n].to_numpy() for n in ("high", "low", "close")), 14),
    ),
    "MAX": (lambda p: p.max(14, of="close"), lambda t, b: t.MAX(b["close"].to_numpy(), 14)),
    "BBANDS": (
        lambda p: p.bollinger(20, 2 * np.sqrt(19 / 20)).lower,  # it divides by n
        lambda t, b: t.BBANDS(b["close"].to_numpy(), 20, 2, 2)[2],
    ),
}


@pytest.mark.parametrize("name", TALIB)
def test_indicator_is_that_of_ta_lib(name: str) -> None:
    """Where TA-Lib has the same definition it gives the same numbers, from the first on."""
    talib = pytest.importorskip("talib")
    ask, oracle = TALIB[name]
    found = ask(WHOLE)
    for column in (0, 1, 3):
        wanted = oracle(talib, _series(WHOLE, column))
        np.testing.assert_allclose(found[:, column], wanted, rtol=1e-9, atol=1e-9)


def test_ta_lib_works_through_the_panel() -> None:
    """A function of TA-Lib is given a symbol's own bars, and its result is kept."""
    talib = pytest.importorskip("talib")
    found = HOLED.indicator(talib.RSI, 14)
    assert HOLED.indicator(talib.RSI, 14) is found
    np.testing.assert_allclose(found, HOLED.rsi(14, mean="wilder"), rtol=1e-9)
    upper, middle, lower = HOLED.indicators(talib.BBANDS, 20, outputs=3)
    assert np.nanmin(upper - lower) >= 0
    assert middle.shape == HOLED.close.shape


@pytest.mark.parametrize(
    "work",
    [
        lambda x: windows.mean(x, 7),
        lambda x: windows.total(x, 7),
        lambda x: windows.deviation(x, 7),
        lambda x: windows.highest(x, 7),
        lambda x: changes.log_growth(x, 2),
        lambda x: smoothing.exponential(x, 7),
        lambda x: smoothing.wilder(x, 7),
        lambda x: comoments.beta(x, x[:, ::-1], 7),
        across.count,
        across.rank,
        lambda x: across.total(np.hstack([x / k for k in (1, 3, 7, 11, 13)])),
        lambda x: across.flagged(x > 100, x),
        lambda x: windows.mean(x[:, :2], 7),
        lambda x: windows.deviation(x[:, :2], 7),
        lambda x: np.array([across.over_bounds(x, 99, 101), across.largest_sum(x)]),
    ],
)
def test_interpreter_gives_the_digits_of_the_compiler(
    work: Callable[[Matrix], Matrix], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trading without numba decides what research decided with it."""
    warm_up()
    values = HOLED.close[:120]
    with_numba = work(values)
    monkeypatch.setattr(compiled, "COMPILES", False)
    assert np.array_equal(work(values), with_numba, equal_nan=True)


def test_warming_up_compiles_every_loop_in_the_form_in_which_it_is_used() -> None:
    """No indicator of a panel compiles anything more, so no slot waits for it."""
    warm_up()
    modules = (windows, changes, smoothing, comoments, across)
    loops = [
        each
        for module in modules
        for each in vars(module).values()
        if isinstance(each, compiled.Compiled)
    ]
    assert len(loops) > 10
    panel = _panel(True)
    for ask, _ in ORACLES.values():
        ask(panel)
        ask(panel.part(0, 200))
    scores = panel.returns()
    for _ in panel.rank(scores), panel.count(scores), panel.total(scores.copy()):
        pass
    signal(scores > 0, scores)
    signal((scores > 0).T.copy().T, scores.copy())
    forms = {each.__name__: each._machine_code.signatures for each in loops}  # type: ignore[attr-defined]
    assert {name: len(each) for name, each in forms.items()} == dict.fromkeys(forms, 1)


def test_long_history_costs_no_digits() -> None:
    """After half a million prices a moving mean is right to the last digit: nothing was subtracted.

    Prefix sums lose digits there: their error is printed beside.
    """
    random = np.random.default_rng(0)
    prices = 60_000 * np.exp(np.cumsum(random.normal(0, 1e-3, (300_000, 1)), axis=0))
    n = 30
    exact = np.lib.stride_tricks.sliding_window_view(
        prices[-1000:, 0].astype(np.longdouble), n
    ).mean(axis=1)
    own = windows.mean(prices, n)[-1000 + n - 1 :, 0]
    sums = np.cumsum(prices[:, 0])
    prefix = (sums[n:] - sums[:-n])[-1000 + n - 1 :] / n
    errors = [float(np.abs(each / exact - 1).max()) for each in (own, prefix)]
    print(f"relative error of a mean: {errors[0]:.1e}, of one by prefix sums {errors[1]:.1e}")
    assert errors[0] < 1e-15 * 3
    assert errors[1] > 100 * errors[0]


@pytest.mark.parametrize("n", [2, 7, 30])
def test_column_by_itself_is_that_column_among_others(n: int) -> None:
    """Few columns are done by another loop than many: no digit shows it."""
    values = np.cumsum(np.random.default_rng(4).normal(size=(901, 5)), axis=0)
    values[400, 2] = np.nan
    for work in (windows.deviation, windows.highest, windows.lowest, windows.total):
        alone, among = work(values[:, 2:3], n), work(values, n)[:, 2:3]
        assert np.array_equal(alone, among, equal_nan=True)


def test_rank_of_many_symbols_is_that_of_few() -> None:
    """Sorting and counting agree, ties by symbol and NaN without a rank."""
    random = np.random.default_rng(1)
    scores = random.integers(0, 30, (50, 100)).astype(np.float64)
    scores[random.random(scores.shape) < 0.2] = np.nan
    wide = across.rank(scores)
    for row, ranks in zip(scores, wide, strict=True):
        by_polars = pl.Series(row).fill_nan(None).rank("ordinal", descending=True)
        assert by_polars.cast(pl.Float64).equals(pl.Series(ranks).fill_nan(None))
    few = across.rank(np.ascontiguousarray(scores[:, :40]))
    by_hand = [
        [(r > x).sum() + (r[:k] == x).sum() + 1 for k, x in enumerate(r)] for r in scores[:, :40]
    ]
    assert np.array_equal(few[~np.isnan(few)], np.array(by_hand)[~np.isnan(few)])
