"""Both gates judge by one table, so they cannot disagree."""

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from penstock.adapters.expectations import ExpectationsGate
from penstock.core.timeframes import Timeframe
from penstock.data.bar_metrics import METRICS_SCHEMA
from penstock.data.bounds import (
    BoundsGate,
    CheckBounds,
    CheckVerdict,
    Severity,
    TimeframeBounds,
    verdict_frame,
)
from penstock.data.checks import check_symbol

NOW = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def metrics(walk: Callable[..., pl.DataFrame]) -> pl.DataFrame:
    """Metrics of good bars, no bars, and for each measure one row that is far over every bound."""
    good = check_symbol(walk(1440), "GOOD/USDT", Timeframe.H1, NOW).metrics
    empty = check_symbol(walk(3).clear(), "EMPTY/USDT", Timeframe.D1, NOW).metrics
    numbers = [name for name, dtype in METRICS_SCHEMA.items() if dtype.is_numeric()]
    broken = [
        good.with_columns(
            pl.lit(name.upper()).alias("symbol"), pl.lit(999).cast(METRICS_SCHEMA[name]).alias(name)
        )
        for name in numbers
    ]
    return pl.concat([good, empty, *broken])


def test_great_expectations_and_the_plain_gate_give_the_same_verdicts(
    metrics: pl.DataFrame,
) -> None:
    """Symbol by symbol and bound by bound, in the same order, twice, and with another gate made in
    between.
    """
    expected = BoundsGate().judge(metrics)
    gate = ExpectationsGate()
    assert gate.judge(metrics) == expected
    lenient = CheckBounds(max_held_back=1000)
    assert ExpectationsGate(lenient).judge(metrics) == BoundsGate(lenient).judge(metrics)
    assert gate.judge(metrics) == expected


@pytest.mark.parametrize("bound", CheckBounds().table(Timeframe.H1), ids=lambda bound: bound.check)
def test_each_bound_fails_just_above_its_maximum(metrics: pl.DataFrame, bound: object) -> None:
    """At the maximum a check passes, above it fails, and a null passes."""
    name, maximum = bound.metric, bound.maximum  # type: ignore[attr-defined]
    base = metrics[:1].with_columns(pl.lit(None, dtype=METRICS_SCHEMA[m]).alias(m) for m in {name})
    for value, success in ((None, True), (maximum, True), (maximum + 1e-6, False)):
        row = base.with_columns(pl.lit(value, dtype=pl.Float64).alias(name))
        verdict = next(v for v in BoundsGate().judge(row) if v.check == bound.check)  # type: ignore[attr-defined]
        assert verdict.success is success
        assert verdict.stops is (not success and verdict.severity is Severity.ERROR)


def test_data_docs_show_what_was_judged_since_the_last_time(
    metrics: pl.DataFrame, tmp_path: Path
) -> None:
    """The site has one page per suite. Where nothing was checked there is none."""
    gate = ExpectationsGate()
    assert gate.build_docs(tmp_path / "none", Timeframe.H1) is None
    gate.judge(metrics)
    index = gate.build_docs(tmp_path / "docs", Timeframe.H1)
    assert index == tmp_path / "docs" / "index.html"
    assert "bars-1h" in index.read_text()
    assert "bars-1d" not in index.read_text()
    assert gate.build_docs(tmp_path / "again", Timeframe.H1) is None
    assert gate.judge(metrics[:1]) == BoundsGate().judge(metrics[:1])
    gate.build_docs(tmp_path / "docs", Timeframe.H1)
    assert len(list((tmp_path / "docs" / "validations").rglob("*.html"))) == 1
    daily = gate.build_docs(tmp_path / "daily", Timeframe.D1)
    assert daily is not None
    assert "bars-1d" in daily.read_text()


def test_what_threads_ask_at_once_is_judged_together_and_answered_each(
    metrics: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine frames that wait while a tenth is judged take one call more, and each thread gets the
    verdicts on its own. A frame that cannot be judged fails for its thread alone.
    """
    gate = ExpectationsGate()
    calls: list[int] = []
    frames = [metrics[row : row + 2] for row in range(0, 18, 2)]
    frames[4] = frames[4].with_columns(timeframe=pl.lit("7h"))
    judge_rows, waiting = gate._judge_rows, len(frames) + 1

    def counted(asked: pl.DataFrame) -> dict[int, list[CheckVerdict]]:
        deadline = time.monotonic() + 20
        while not calls and len(gate._questions) < waiting and time.monotonic() < deadline:
            time.sleep(0.01)
        calls.append(asked.height)
        return judge_rows(asked)

    monkeypatch.setattr(gate, "_judge_rows", counted)
    with ThreadPoolExecutor(waiting) as pool:
        first = pool.submit(gate.judge, metrics[:1])
        while not gate._questions:
            time.sleep(0.01)
        answers = [pool.submit(gate.judge, frame) for frame in frames]
        assert first.result() == BoundsGate().judge(metrics[:1])
        with pytest.raises(ValueError, match="7h"):
            answers[4].result()
        for frame, answer in zip(frames, answers, strict=True):
            if answer is not answers[4]:
                assert answer.result() == BoundsGate().judge(frame)
    assert calls == [1, 18, *[2] * 9]
    assert not gate._questions


def test_a_verdict_says_what_was_seen_and_what_was_allowed(metrics: pl.DataFrame) -> None:
    """The sentence has rule, value and bound; the frame has the columns of BarBatch.checks."""
    failed = [v for v in BoundsGate().judge(metrics) if not v.success and v.check == "ohlc"]
    assert (
        str(failed[0])
        == "error: ohlc: share of rows with high or low contradicting open/close: 999 > 0.01"
    )
    assert verdict_frame(failed).columns == ["check", "success", "observed", "bound", "detail"]


def test_bounds_of_one_timeframe_leave_the_others_at_their_defaults() -> None:
    """A configuration that names only 1m keeps the rest."""
    mine = TimeframeBounds(
        max_missing_share=0.5, max_zero_volume_share=0.5, max_stale_bars=9, min_jump=0.1
    )
    bounds = CheckBounds(timeframes={Timeframe.M1: mine})
    assert bounds.timeframes[Timeframe.M1] == mine
    assert bounds.timeframes[Timeframe.D1] == CheckBounds().timeframes[Timeframe.D1]
    with pytest.raises(ValidationError, match="max_jumps"):
        CheckBounds.model_validate({"max_jumps": 1})


def test_the_minute_path_does_not_import_great_expectations() -> None:
    """Ingestion with the plain gate must not pay the seconds of that import, nor pandas'."""
    heavy = ("great_expectations", "pandas", "vectorbt", "mlflow")
    code = (
        "import sys, penstock.data.ingestion; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
