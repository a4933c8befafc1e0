"""The difference between live and backtest is split into what rounding and fees do and what nothing
explains.
"""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from penstock.core.errors import DataError
from penstock.monitoring.drift import explain_difference

START = datetime(2025, 1, 1, tzinfo=UTC)


def curve(*equity: float, first_day: int = 0) -> pl.DataFrame:
    ts = [START + timedelta(days=first_day + day) for day in range(len(equity))]
    return pl.DataFrame({"ts": ts, "equity": list(equity)})


def test_parts_sum_to_the_whole_difference() -> None:
    """live - backtest = (replay - backtest) + (live - replay), in quote units."""
    report = explain_difference(
        live=curve(1000, 1010), replay=curve(1000, 1012), backtest=curve(1000, 1020)
    )
    assert report.rounding_and_fees == -8
    assert report.unexplained == -2
    assert report.difference == report.rounding_and_fees + report.unexplained == -10
    assert report.table()["bps"][2] == round(-2 / 1020 * 1e4, 2)


def test_only_common_instants_are_compared() -> None:
    """A live slot that the backtest lacks is left out."""
    report = explain_difference(curve(1, 2, 3, 99), curve(2, 3, first_day=1), curve(5, 6, 7))
    assert report.curves["ts"].to_list() == [START + timedelta(days=1), START + timedelta(days=2)]
    assert report.curves["live"].to_list() == [2, 3]


def test_table_and_sentence_say_the_amounts() -> None:
    """The report's text and table carry the same amounts."""
    report = explain_difference(curve(1000, 1010), curve(1000, 1012), curve(1000, 1020))
    amounts = dict(report.table().select("part", "amount").iter_rows())
    assert amounts["live equity"] == amounts["backtest equity"] + sum(
        v for k, v in amounts.items() if "-" in k and "(" in k
    )
    assert "-8.00" in report.sentence()
    assert "-2.00 is unexplained" in report.sentence()


def test_curves_without_a_common_instant_are_refused() -> None:
    """Comparing different days would compare nothing."""
    with pytest.raises(DataError, match="share no instant"):
        explain_difference(curve(1, 2), curve(1, 2, first_day=9), curve(1, 2))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (pl.DataFrame({"ts": [START]}), "no column"),
        (pl.concat([curve(1), curve(2)]), "has an instant twice"),
    ],
)
def test_malformed_curve_is_refused(bad: pl.DataFrame, message: str) -> None:
    """A curve has one equity per instant."""
    with pytest.raises(DataError, match=message):
        explain_difference(curve(1), bad, curve(1))
