"""The trials of a search: the best of them, the front of several objectives, and their table."""

import json
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from penstock.core.errors import SearchError
from penstock.core.trials import Trial
from penstock.research.engine.market import Matrix
from penstock.research.engine.results import Candidate
from penstock.research.search.objectives import Measure, comparable
from penstock.research.search.settings import FrontRule

#: The figures that a trial's row in `SearchResult.trials` has.
TRIAL_METRICS = ("sharpe", "total_return", "max_drawdown", "turnover", "orders")

#: Called after each trial, in the order of their numbers.
OnTrial = Callable[[Trial], None]


def best_candidates(
    trials: Sequence[Trial], most: int, objectives: Sequence[Measure], rule: FrontRule
) -> tuple[Candidate, ...]:
    """Return up to `most` distinct candidates, best first; an earlier trial wins a tie.

    With several objectives those of the front come first, in the order of `rule`, then the others,
    by the first objective. Raises SearchError where no trial had parameters that its strategy
    allows.
    """
    distinct = _distinct(trials)
    if not distinct:
        raise SearchError(
            f"none of {len(trials)} trials had parameters that the strategy allows: "
            "widen the bounds"
        )
    scores = _scores(distinct, objectives)
    first = -scores[:, 0]
    if len(objectives) == 1:
        order = np.lexsort([first])
    else:
        on_front = _front(scores)
        rank = first if rule is FrontRule.FIRST else _distance_to_ideal(scores, on_front)
        order = np.lexsort([np.where(on_front, rank, first), ~on_front])
    return tuple(_candidate(distinct[k]) for k in order[:most])


def pareto_front(trials: Sequence[Trial], objectives: Sequence[Measure]) -> tuple[Candidate, ...]:
    """Return the distinct trials that no other beats in every objective.

    The best by the first objective comes first. Where there is one objective it is the best trial.
    """
    distinct = _distinct(trials)
    if not distinct:
        return ()
    scores = _scores(distinct, objectives)
    if len(objectives) == 1:
        return (_candidate(distinct[int(scores[:, 0].argmax())]),)
    on_front = np.flatnonzero(_front(scores))
    order = on_front[np.argsort(-scores[on_front, 0], kind="stable")]
    return tuple(_candidate(distinct[k]) for k in order)


def _candidate(trial: Trial) -> Candidate:
    return Candidate(trial.number, trial.strategy, trial.params, trial.values)


def _distinct(trials: Sequence[Trial]) -> list[Trial]:
    """Return the first trial of each strategy and parameters that are allowed, by number."""
    found = {
        (t.strategy, json.dumps(dict(t.params), sort_keys=True)): t
        for t in sorted(trials, key=lambda t: -t.number)
        if t.allowed
    }
    return sorted(found.values(), key=lambda t: t.number)


def _scores(trials: Sequence[Trial], objectives: Sequence[Measure]) -> Matrix:
    """Return the objectives of shape (trials, objectives), of which more is better.

    A trial with an objective that is not a number is the worst in all.
    """
    less = [each.minimised for each in objectives]
    scores = np.array([list(map(comparable, t.values, less)) for t in trials])
    scores[np.isneginf(scores).any(axis=1)] = -np.inf
    return scores


def _front(scores: Matrix) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Return which trials no other trial beats: as good in all objectives and better in one."""
    beaten = [
        bool(((scores >= each).all(axis=1) & (scores > each).any(axis=1)).any()) for each in scores
    ]
    return ~np.array(beaten)


def _distance_to_ideal(
    scores: Matrix, on_front: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
) -> Matrix:
    """Return each trial's distance to the best of every objective, scaled to the front's range."""
    finite = np.where(np.isfinite(scores), scores, np.nan)
    with np.errstate(all="ignore"):
        best, worst = np.nanmax(finite[on_front], axis=0), np.nanmin(finite[on_front], axis=0)
    span = np.where(best > worst, best - worst, 1.0)
    distance: Matrix = np.sqrt((((best - finite) / span) ** 2).sum(axis=1))
    return np.nan_to_num(distance, nan=np.inf)


def trial_table(trials: Sequence[Trial], objectives: Sequence[str] = ()) -> pl.DataFrame:
    """Return one row per trial: its figures, and a column `param_...` per parameter.

    Where there are several objectives each has a column `objective_...`.
    """
    names = sorted({name for t in trials for name in t.params})
    further = list(dict.fromkeys(n for t in trials for n in t.metrics))
    metrics = [*TRIAL_METRICS, *(name for name in further if name not in TRIAL_METRICS)]
    several = list(objectives) if len(objectives) > 1 else []
    rows = [
        {
            "number": t.number,
            "strategy": t.strategy,
            "state": "complete" if t.allowed else "pruned",
            "value": t.value if t.allowed else None,
            **{
                f"objective_{name}": t.values[k] if t.allowed else None
                for k, name in enumerate(several)
            },
            **{name: t.metrics.get(name) for name in metrics},
            "took_ms": t.took_ms,
            "params": json.dumps(dict(t.params), sort_keys=True),
            **{f"param_{name}": t.params.get(name) for name in names},
        }
        for t in trials
    ]
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(
        pl.col("orders").cast(pl.Int64)
    )
