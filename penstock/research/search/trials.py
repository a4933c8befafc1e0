"""The trials of a search: the best of them, and their table."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from penstock.core.errors import SearchError
from penstock.research.engine.results import Candidate, ParamValues

#: The figures that a trial's row in `SearchResult.trials` has.
TRIAL_METRICS = ("sharpe", "total_return", "max_drawdown", "turnover", "orders")


@dataclass(frozen=True)
class Trial:
    """One finished trial."""

    number: int
    """The trial's number in the search."""
    strategy: str
    """The strategy's name."""
    params: ParamValues
    """The parameters that were tried."""
    allowed: bool
    """Whether the strategy allows these parameters."""
    value: float
    """The objective, in sample; NaN where the parameters are not allowed."""
    metrics: dict[str, float]
    """The figures TRIAL_METRICS; empty where the parameters are not allowed."""
    took_ms: float
    """How long the trial took, in milliseconds."""


#: Called after each trial.
OnTrial = Callable[[Trial], None]


def best_candidates(trials: Sequence[Trial], most: int) -> tuple[Candidate, ...]:
    """Return up to `most` distinct candidates, best first; an earlier trial wins a tie.

    Raises SearchError where no trial had parameters that its strategy allows.
    """
    allowed = sorted((t for t in trials if t.allowed), key=lambda t: (-t.value, t.number))
    if not allowed:
        raise SearchError(
            f"none of {len(trials)} trials had parameters that the strategy allows: "
            "widen the bounds"
        )
    distinct = {
        (t.strategy, json.dumps(dict(t.params), sort_keys=True)): t for t in reversed(allowed)
    }
    chosen = sorted(distinct.values(), key=lambda t: (-t.value, t.number))[:most]
    return tuple(Candidate(t.number, t.strategy, t.params, t.value) for t in chosen)


def trial_table(trials: Sequence[Trial]) -> pl.DataFrame:
    """Return one row per trial: its figures, and a column `param_...` per parameter."""
    names = sorted({name for t in trials for name in t.params})
    rows = [
        {
            "number": t.number,
            "strategy": t.strategy,
            "state": "complete" if t.allowed else "pruned",
            "value": t.value if t.allowed else None,
            **{name: t.metrics.get(name) for name in TRIAL_METRICS},
            "took_ms": t.took_ms,
            "params": json.dumps(dict(t.params), sort_keys=True),
            **{f"param_{name}": t.params.get(name) for name in names},
        }
        for t in trials
    ]
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(
        pl.col("orders").cast(pl.Int64)
    )
