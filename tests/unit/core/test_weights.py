"""The check that a strategy kept its side of the contract."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA
from penstock.core.errors import StrategyError
from penstock.core.weights import require_weights

START = datetime(2024, 1, 1, tzinfo=UTC)
ROWS = [
    (s, START + timedelta(days=d), 1.0, 1.0, 1.0, 1.0, 1.0)
    for s in ("A/Q", "B/Q")
    for d in range(3)
]
BARS = pl.DataFrame(ROWS, schema=BARS_SCHEMA, orient="row")


def weights(*values: float | None) -> pl.DataFrame:
    return BARS.select("symbol", "ts").with_columns(
        pl.Series("weight", list(values), dtype=pl.Float64)
    )


def test_good_weights_come_back_sorted_in_the_contracts_layout() -> None:
    """Order of rows does not matter to the strategy, it does to those who read."""
    shuffled = weights(0.1, None, 0.3, 0.4, 0.5, -1.0).reverse()
    assert require_weights(shuffled, BARS, "s")["weight"].to_list() == [
        0.1,
        None,
        0.3,
        0.4,
        0.5,
        -1.0,
    ]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1.01, -1.01])
def test_weight_that_is_no_fraction_is_refused_by_symbol_and_time(bad: float) -> None:
    """NaN, infinity and leverage are named with the symbol and bar where they stand."""
    with pytest.raises(StrategyError, match=r"B/Q at 2024-01-02"):
        require_weights(weights(0, 0, 0, 0, bad, 0), BARS, "s")


@pytest.mark.parametrize(
    "table", [weights(0, 0, 0, 0, 0, 0).head(5), weights(0, 0, 0, 0, 0, 0).drop("weight")]
)
def test_missing_rows_or_columns_are_refused(table: pl.DataFrame) -> None:
    """One row per bar, three columns."""
    with pytest.raises(StrategyError):
        require_weights(table, BARS, "s")
