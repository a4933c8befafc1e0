"""Looks at bars as a table for people, in the terminal and in artifacts."""

from collections.abc import Sequence

import polars as pl

from penstock.core.looks import RecordedLook

_COLUMNS = ("at", "by", "kind", "about", "bars", "symbols", "trials", "configurations", "best")


def looks_table(looks: Sequence[RecordedLook]) -> pl.DataFrame:
    """Return looks in the order given, one row per look.

    The columns are at, by, kind, about, bars, symbols, trials, configurations and best. A look that
    was not ended, by an error or a crash, has no figures: what it had tried counts all the same.
    """
    rows = [_row(each) for each in looks]
    return pl.DataFrame(rows, schema=dict.fromkeys(_COLUMNS, pl.String), orient="row")


def _row(recorded: RecordedLook) -> tuple[str, ...]:
    look, bars = recorded.look, recorded.look.bars
    best = ", ".join(f"{name} {value:.4g}" for name, value in recorded.best.items())
    return (
        f"{look.at:%Y-%m-%d %H:%M}",
        f"{look.by.name} ({look.by.channel})",
        look.kind.value,
        look.about,
        f"{bars.timeframe} from {bars.first:%Y-%m-%d %H:%M} to {bars.last:%Y-%m-%d %H:%M}",
        str(len(bars.symbols)),
        "not ended" if recorded.trials is None else str(recorded.trials),
        str(recorded.configurations),
        best,
    )
