"""Weights across symbols, where the newest bar of one may come late.

A late bar is not a vanished coin: the equity that it stands for is not shared out among the others.
"""

from datetime import timedelta

import polars as pl

#: A symbol counts as it was for so many bars after its last one. Then it counts no more.
LATE_BARS = 5


def weights_across(scores: pl.DataFrame, weight: pl.Expr) -> pl.DataFrame:
    """Return the columns symbol, ts and `weight`, one row per row of `scores`.

    `scores` has symbol, ts (sorted by both) and what `weight` computes from, such as
    `pl.col("score").count().over("ts")`. There a symbol whose bar is late counts with its last
    row. It gets no row of its own: it has no decision.

    >>> from datetime import date
    >>> days = [date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 1)]
    >>> scores = pl.DataFrame({"symbol": ["A", "A", "B"], "ts": days, "score": [3.0, 2.0, 1.0]})
    >>> weights_across(scores, 1 / pl.col("score").count().over("ts"))["weight"].to_list()
    [0.5, 0.5, 0.5]
    """
    late = _late_rows(scores)
    if late.is_empty():
        return scores.select("symbol", "ts", weight=weight)
    present = scores.with_columns(is_late=pl.lit(False))
    return (
        pl.concat([present, late])
        .sort("symbol", "ts")  # equal ranks follow the order of rows
        .select("symbol", "ts", "is_late", weight=weight)
        .filter(~pl.col("is_late"))
        .drop("is_late")
    )


def _late_rows(scores: pl.DataFrame) -> pl.DataFrame:
    """Return a copy of a symbol's row for each of the LATE_BARS bars that follow it and lack."""
    step = scores.select(step=pl.col("ts").diff()).filter(pl.col("step") > pl.duration())["step"]
    absent = scores.clear().with_columns(is_late=pl.lit(False))
    if step.is_empty():
        return absent
    bar = step.min()
    assert isinstance(bar, timedelta)
    end = pl.col("ts").max() + bar
    is_last = pl.col("symbol").ne_missing(pl.col("symbol").shift(-1))
    marked = scores.with_columns(
        following=pl.when(is_last).then(end).otherwise(pl.col("ts").shift(-1))
    )
    followed_late = marked.filter(pl.col("following") - pl.col("ts") > bar)
    if followed_late.is_empty():  # the usual case, in half the time
        return absent
    copies = [
        followed_late.filter(pl.col("following") - pl.col("ts") > late * bar).with_columns(
            ts=pl.col("ts") + late * bar, is_late=pl.lit(True)
        )
        for late in range(1, LATE_BARS + 1)
    ]
    return pl.concat([absent, *(copy.drop("following") for copy in copies)])
