"""A process that searches with a PostgreSQL store, and is killed at a trial.

`python -m tests.integration.research.searcher URL SEED KILL_AT OUT`: KILL_AT counts the trials that
this process begins, from 1; 0 kills nothing. What was found is written to OUT.
"""

import itertools
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, ClassVar

from penstock.adapters.stores.postgres import PostgresResearchJournal, PostgresTrialStore, connect
from penstock.core.actors import Actor, Channel
from penstock.core.machine import SYSTEM_CLOCK
from penstock.core.strategy import StrategyParams
from penstock.ports import TrialStore
from penstock.research.engine.costs import Costs
from penstock.research.engine.results import SearchResult, SearchSettings
from penstock.research.journal import LookRecorder
from penstock.research.search.runner import search
from strategies.momentum import Momentum
from tests.unit.research.conftest import random_walk

TRIALS = 40
_begun = itertools.count(1)


class Doomed(Momentum):
    """A strategy whose process is killed when it is made for the last time."""

    name = "doomed"
    kill_at: ClassVar[int] = 0

    def __init__(self, params: StrategyParams | None = None) -> None:
        super().__init__(params)
        if next(_begun) == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def run_search(
    seed: int, store: TrialStore | None = None, journal: LookRecorder | None = None
) -> SearchResult:
    settings = SearchSettings(trials=TRIALS, batch=6, seed=seed)
    bars = random_walk(symbols=2, bars=150, seed=seed)
    return search(bars, Doomed, Costs(), settings, store=store, journal=journal, threads=2)


def outcome_of(found: SearchResult) -> dict[str, Any]:
    """Return what must be the same, as JSON has it."""
    trials = found.trials.drop("took_ms").to_dicts()
    value = {"best": dict(found.best_params), "value": found.best_value, "trials": trials}
    return json.loads(json.dumps(value))  # type: ignore[no-any-return]  # what was given


def main(url: str, seed: str, kill_at: str, out: str) -> None:
    Doomed.kill_at = int(kill_at)
    with connect(url) as database:
        journal = LookRecorder(
            PostgresResearchJournal(database), Actor("tester", Channel.CLI), "test", SYSTEM_CLOCK
        )
        found = run_search(int(seed), PostgresTrialStore(database), journal)
    Path(out).write_text(json.dumps(outcome_of(found)))


if __name__ == "__main__":
    main(*sys.argv[1:])
