"""What every strategy must keep, whatever its parameters. The list: shape, warm-up, long only, no
leverage, no look into the future, self-contained source.
"""

import ast
import inspect
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from penstock.core.bars import TS
from penstock.core.errors import StrategyError
from penstock.core.strategy import Strategy
from penstock.research.validation.leakage import check_no_lookahead
from strategies import STRATEGIES, strategy_class

#: Parameters at the ends of what each shipped strategy allows.
EXTREMES: dict[str, list[dict[str, Any]]] = {
    "ma_cross": [
        {"fast_bars": 5, "slow_ratio": 1.5},
        {"fast_bars": 60, "slow_ratio": 8.0},
    ],
    "momentum": [
        {"lookback_bars": 5, "skip_bars": 0, "top_fraction": 0.1},
        {"lookback_bars": 180, "skip_bars": 5, "top_fraction": 0.6},
    ],
    "mean_reversion": [
        {
            "band_bars": 10,
            "rsi_bars": 30,
            "hold_bars": 15,
            "band_width": 1.0,
            "rsi_ceiling": 50.0,
        },
        {"band_bars": 60, "rsi_bars": 5, "hold_bars": 1, "band_width": 1.0, "rsi_ceiling": 50.0},
    ],
    "inverse_volatility": [
        {"lookback_bars": 10, "max_weight": 0.1},
        {"lookback_bars": 120, "max_weight": 1.0},
    ],
    "breakout": [
        {"channel_bars": 10, "hold_bars": 1, "volatility_bars": 120, "target_volatility": 1.5},
        {"channel_bars": 120, "hold_bars": 60, "volatility_bars": 10, "target_volatility": 0.1},
    ],
    "composite": [
        {"trend_bars": 10, "momentum_bars": 5, "calm_bars": 10},
        {"trend_bars": 200, "momentum_bars": 180, "calm_bars": 60},
    ],
    "dca": [
        {"mean_bars": 20, "discount": 0.0, "parts": 2},
        {"mean_bars": 250, "discount": 0.3, "parts": 60},
    ],
    "grid": [
        {"band_bars": 10, "band_width": 1.0, "levels": 2},
        {"band_bars": 180, "band_width": 4.0, "levels": 20},
    ],
}
CORNERS: list[tuple[str, dict[str, Any]]] = [
    (name, values) for name in STRATEGIES for values in ({}, *EXTREMES.get(name, []))
]

every_corner = pytest.mark.parametrize(
    ("name", "values"), CORNERS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CORNERS)]
)


def build(name: str, values: dict[str, Any]) -> Strategy:
    return strategy_class(name).from_params(values)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_strategy_has_its_extremes(name: str) -> None:
    """A strategy that is new in the table is tested at the ends of its parameters too."""
    assert EXTREMES.get(name), (
        f"strategy '{name}' has no entry in EXTREMES: add its extreme parameters there"
    )


@every_corner
def test_no_later_bar_changes_an_earlier_weight(
    name: str, values: dict[str, Any], daily_candles: pl.DataFrame
) -> None:
    """The lookahead check of the promotion gate, on symbols with gaps and different first days."""
    assert check_no_lookahead(build(name, values), daily_candles, cuts=4, seed=7) == []


@every_corner
def test_weights_are_long_only_and_within_the_account(
    name: str, values: dict[str, Any], daily_candles: pl.DataFrame
) -> None:
    """One row per bar, no short, no leverage at any bar, and the strategy does something."""
    weights = build(name, values).decide(daily_candles)
    assert weights["weight"].min() >= 0  # type: ignore[operator]  # a float column with values
    assert weights.group_by("ts").agg(pl.col("weight").sum())["weight"].max() <= 0.98 + 1e-9  # type: ignore[operator]
    assert (weights["weight"] > 0).any()


@every_corner
def test_decisions_begin_exactly_after_the_warmup(
    name: str, values: dict[str, Any], daily_candles: pl.DataFrame
) -> None:
    """Null for the first `warmup_bars` bars of each symbol, decided from then on."""
    strategy = build(name, values)
    undecided = (
        strategy.decide(daily_candles)
        .group_by("symbol")
        .agg(
            nulls=pl.col("weight").is_null().sum(),
            leading=pl.col("weight").is_null().head(strategy.warmup_bars).sum(),
        )
    )
    assert (undecided["nulls"] == strategy.warmup_bars).all()
    assert (undecided["leading"] == strategy.warmup_bars).all()


@every_corner
def test_last_row_over_a_warm_window_is_that_of_the_full_history(
    name: str, values: dict[str, Any], daily_candles: pl.DataFrame
) -> None:
    """With `warmup_bars` earlier bars of each symbol the decision is exact, on sampled days and on
    the last.
    """
    strategy = build(name, values)
    full = strategy.decide(daily_candles)
    days = daily_candles["ts"].unique().sort()
    for day in [*days[900::170], days[-1]]:
        past = daily_candles.filter(pl.col("ts") <= day)
        window = past.group_by("symbol", maintain_order=True).tail(strategy.warmup_bars + 1)
        last, truth = (w.filter(pl.col("ts") == day) for w in (strategy.decide(window), full))
        assert last["weight"].is_null().equals(truth["weight"].is_null())
        assert last["weight"].fill_null(0).to_numpy() == pytest.approx(
            truth["weight"].fill_null(0).to_numpy(), abs=1e-12
        )


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_flat_market_gives_finite_weights(name: str) -> None:
    """Prices that do not move divide by zero in careless formulas."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    ts = pl.Series("ts", [start + timedelta(days=i) for i in range(120)], dtype=TS)
    flat = (
        pl.DataFrame({"ts": ts})
        .join(pl.DataFrame({"symbol": ["A/USDT", "B/USDT"]}), how="cross")
        .sort("symbol", "ts")
    )
    bars = flat.select(
        "symbol", "ts", *(pl.lit(10.0).alias(c) for c in ("open", "high", "low", "close", "volume"))
    )
    weights = strategy_class(name)().decide(bars)["weight"].drop_nulls()
    assert len(weights) > 0
    assert np.isfinite(weights.to_numpy()).all()


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_source_imports_only_what_the_registry_has(name: str) -> None:
    """The file is loaded from the model registry alone, so it leans on the vocabulary, NumPy,
    Polars, Pydantic and nothing else.
    """
    source = Path(inspect.getsourcefile(STRATEGIES[name]) or "").read_text(encoding="utf-8")
    imported = {
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {str(module).split(".")[0] for module in imported} <= {
        "numpy",
        "polars",
        "pydantic",
        "penstock",
        "datetime",
        "math",
    }
    assert all(
        str(m).startswith("penstock.core") for m in imported if str(m).startswith("penstock")
    )


def test_unknown_strategy_lists_the_allowed_names() -> None:
    """A typo is answered with the names that exist."""
    allowed = ", ".join(sorted(STRATEGIES))
    with pytest.raises(StrategyError, match=f"unknown strategy 'momentun': allowed are {allowed}$"):
        strategy_class("momentun")


def test_table_is_keyed_by_the_strategies_own_names() -> None:
    """The name under which a strategy is found is the one it reports in results and in the
    registry.
    """
    assert all(strategy.name == name for name, strategy in STRATEGIES.items())


def test_every_strategy_file_stands_in_the_table() -> None:
    """A strategy that is shipped is one that every test of this suite is run for."""
    folder = Path(inspect.getsourcefile(STRATEGIES["momentum"]) or "").parent
    shipped = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert shipped == {strategy.__module__.split(".")[-1] for strategy in STRATEGIES.values()}
