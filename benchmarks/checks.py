"""What checking a year of minutes costs: Polars and the metrics gate beside Great Expectations on
every row.

Run with `python -m benchmarks.checks`. All figures come from one run on one machine: compare the
ratios.
"""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import polars as pl

from penstock.adapters.expectations import ExpectationsGate
from penstock.core.bars import BARS_SCHEMA
from penstock.core.timeframes import Timeframe
from penstock.data.bounds import BoundsGate
from penstock.data.checks import check_symbol

ROWS = 525_600
M1 = Timeframe.M1


def synthetic_minutes(rows: int) -> pl.DataFrame:
    """Return `rows` good synthetic bars."""
    random = np.random.default_rng(0)
    close = 30_000 * np.exp(np.cumsum(random.normal(0, 0.0005, rows)))
    opens = np.concatenate([[30_000.0], close])[:-1]
    start = datetime(2024, 1, 1, tzinfo=UTC)
    times = pl.datetime_range(
        start, start + (rows - 1) * M1.duration, "1m", time_unit="ms", time_zone="UTC", eager=True
    )
    return pl.DataFrame(
        {
            "symbol": ["BTC/USDT"] * rows,
            "ts": times,
            "open": opens,
            "high": np.maximum(opens, close) * 1.0002,
            "low": np.minimum(opens, close) * 0.9998,
            "close": close,
            "volume": random.uniform(0.1, 9, rows),
        },
        schema=BARS_SCHEMA,
    )


def best_of(times: int, run: Callable[[], object]) -> float:
    """Return the shortest of several runs, in milliseconds; the first run, which warms up, does not
    count.
    """
    run()
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        run()
        spent.append((time.perf_counter() - began) * 1000)
    return min(spent)


def row_suite() -> Callable[[pl.DataFrame], object]:
    """Return the same row checks as expectations over every row, on pandas. Gaps, jumps and
    staleness are not among them.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations import expectations as gxe

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    batch = (
        context.data_sources.add_pandas("rows")
        .add_dataframe_asset("rows")
        .add_batch_definition_whole_dataframe("all")
    )
    pairs = [
        ("high", "open"),
        ("high", "close"),
        ("high", "low"),
        ("open", "low"),
        ("close", "low"),
    ]
    suite = gx.ExpectationSuite(
        "rows",
        expectations=[
            *(
                gxe.ExpectColumnValuesToNotBeNull(column=name)
                for name in ("ts", "open", "high", "low", "close", "volume")
            ),
            *(
                gxe.ExpectColumnValuesToBeBetween(column=name, min_value=0, strict_min=True)
                for name in ("open", "low", "close")
            ),
            gxe.ExpectColumnValuesToBeBetween(column="volume", min_value=0),
            *(
                gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A=a, column_B=b, or_equal=True)
                for a, b in pairs
            ),
            gxe.ExpectColumnValuesToBeUnique(column="ts"),
        ],
    )
    context.suites.add(suite)
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name="rows", data=batch, suite=suite)
    )
    return lambda bars: definition.run(batch_parameters={"dataframe": bars.to_pandas()})


def main() -> None:
    bars = synthetic_minutes(ROWS)
    now = bars["ts"][-1] + M1.duration
    metrics = check_symbol(bars, "BTC/USDT", M1, now).metrics
    gate, plain, rows = ExpectationsGate(), BoundsGate(), row_suite()
    polars = best_of(5, lambda: check_symbol(bars, "BTC/USDT", M1, now))
    asserted = best_of(5, lambda: gate.judge(metrics))
    compared = best_of(5, lambda: plain.judge(metrics))
    by_row = best_of(3, lambda: rows(bars))
    minute = bars[-5:]
    live = best_of(
        20,
        lambda: plain.judge(
            check_symbol(minute, "BTC/USDT", M1, now, context=bars[-101:-5]).metrics
        ),
    )
    ours = polars + asserted
    print(f"{ROWS:,} one-minute bars of one symbol; milliseconds, best of several runs")
    print(f"  row checks and metrics in Polars                    {polars:9.1f}")
    print(f"  Great Expectations over the metrics frame           {asserted:9.1f}")
    print(f"  both together (what a flow pays)                    {ours:9.1f}    1.0x")
    print(
        f"  Great Expectations over every row (pandas)          {by_row:9.1f}  "
        f"{by_row / ours:5.1f}x"
    )
    print(
        "  Polars alone against Great Expectations by row                   "
        f"{by_row / polars:5.1f}x"
    )
    print(f"  the plain gate over the metrics frame               {compared:9.3f}")
    print(f"  one minute's ingestion: 5 bars, checks and gate     {live:9.1f}")


if __name__ == "__main__":
    main()
