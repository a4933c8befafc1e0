"""The leak proof on every planted, honest and shipped strategy, as one table.

`python -m tests.honesty.leak_report FOLDER` makes it on the real daily candles of a folder.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from penstock.core.bars import require_bars
from penstock.core.strategy import Strategy
from penstock.research.validation.leakage import leak_proof
from strategies import STRATEGIES
from tests.honesty import leaks

LEAK, MEMORY, CLEAN = "sees later bars", "remembers too long", "clean"


def report(bars: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Return one row per strategy: its name, what is expected, what was found, the evaluations and
    the seconds. `bars` (BARS_SCHEMA) are a universe; labels are written to `folder`.
    """
    rows = []
    for name, strategy, expected in _strategies(bars, folder):
        begun = time.perf_counter()
        proof = leak_proof(strategy, bars)
        found = LEAK if proof.leaks else MEMORY if proof.memory else CLEAN
        seconds = time.perf_counter() - begun
        first = next((leak.sentence() for leak in proof.leaks), "")
        first = first or (proof.memory.sentence() if proof.memory else "")
        rows.append((name, expected, found, proof.evaluations, round(seconds, 2), first))
    names = ["strategy", "expected", "found", "evaluations", "seconds", "first"]
    return pl.DataFrame(rows, schema=names, orient="row")


def _strategies(bars: pl.DataFrame, folder: Path) -> Iterator[tuple[str, Strategy, str]]:
    """Yield every strategy with its name and the verdict that it must get."""
    labels = folder / "labels.parquet"
    leaks.write_labels(bars, labels)
    symbol = str(bars["symbol"][0])
    own = bars.filter(pl.col("symbol") == symbol)["close"]
    once = int(own.len() * 0.6)
    while own.eq(own[once]).sum() > 1:  # on ticks another bar may have the same close
        once += 1
    about = {"labels": str(labels), "symbol": symbol, "close": float(own[once])}
    for plans, panel_plans, expected in (
        (leaks.LEAKS, leaks.PANEL_LEAKS, LEAK),
        (leaks.HONEST, leaks.PANEL_HONEST, CLEAN),
        (leaks.FORGETFUL, leaks.PANEL_FORGETFUL, MEMORY),
    ):
        for name in plans:
            yield name, leaks.planted(name, **about), expected
        for name in panel_plans:
            yield f"{name} (arrays)", leaks.planted_panel(name, **about), expected
    for name, strategy in STRATEGIES.items():
        yield f"{name} (shipped)", strategy(), CLEAN


def main(folder: Path) -> int:
    """Print the table of twenty coins' real days; return how many verdicts are wrong."""
    paths = sorted(folder.glob("*USDT__1d.parquet"))[:20]
    bars = require_bars(pl.concat([pl.read_parquet(path) for path in paths]), "candles")
    with tempfile.TemporaryDirectory() as scratch:
        table = report(bars.sort("symbol", "ts"), Path(scratch))
    with pl.Config(tbl_rows=-1, fmt_str_lengths=160, tbl_width_chars=240):
        print(table)
    return table.filter(pl.col("expected") != pl.col("found")).height


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
