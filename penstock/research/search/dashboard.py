"""Copies of a finished search for optuna-dashboard."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from penstock.core.errors import SearchError
from penstock.core.extras import extra
from penstock.core.strategy import Strategy
from penstock.research.engine.results import SearchResult
from penstock.research.search.objectives import measure_of
from penstock.research.search.runner import study_name
from penstock.research.search.samplers import distribution_of, quiet_optuna
from penstock.research.search.space import search_space

with extra("research"):
    import optuna
    from optuna.storages.journal import JournalFileBackend


def write_dashboard_file(
    found: SearchResult, strategies: Sequence[type[Strategy]], path: Path
) -> tuple[str, ...]:
    """Write a search as Optuna studies, one per strategy, and return their names.

    The file is an Optuna journal: `optuna-dashboard PATH` opens it. `strategies` are the classes
    that were searched. Raises SearchError where the file cannot be written, or has such a study
    already.
    """
    directions = [
        optuna.study.StudyDirection.MINIMIZE
        if measure_of(name).minimised
        else optuna.study.StudyDirection.MAXIMIZE
        for name in found.settings.objective
    ]
    names = []
    try:
        with quiet_optuna(), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # their names
            storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
            for strategy in strategies:
                name = study_name(strategy.name, found.id)
                study = optuna.create_study(storage=storage, study_name=name, directions=directions)
                study.add_trials(_frozen(found, strategy))
                study.set_metric_names(list(found.settings.objective))
                names.append(name)
    except (OSError, optuna.exceptions.OptunaError) as error:
        raise SearchError(f"{path} cannot be written: {error}; name a new file") from error
    return tuple(names)


def _frozen(found: SearchResult, strategy: type[Strategy]) -> list["optuna.trial.FrozenTrial"]:
    distributions = {name: distribution_of(each) for name, each in search_space(strategy).items()}
    several = found.settings.objective if len(found.settings.objective) > 1 else ()
    columns = [f"objective_{measure_of(name).name}" for name in several] or ["value"]
    known = {"number", "strategy", "state", "value", "params", *columns}
    trials = []
    for row in found.trials.filter(pl.col("strategy") == strategy.name).iter_rows(named=True):
        complete = row["state"] == "complete"
        figures = {
            name: value
            for name, value in row.items()
            if name not in known and not name.startswith("param_")
        }
        trials.append(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.COMPLETE
                if complete
                else optuna.trial.TrialState.PRUNED,
                params={name: row[f"param_{name}"] for name in distributions},
                distributions=distributions,
                values=[row[name] for name in columns] if complete else None,
                user_attrs=figures,
            )
        )
    return trials
