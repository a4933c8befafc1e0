"""A search is the same whoever evaluates it, when it is interrupted, and who shares it."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import optuna
import polars as pl
import pytest

from penstock.core.actors import Actor, Channel
from penstock.core.clock import SteppedClock
from penstock.core.errors import SearchError
from penstock.core.executor import InlineRunner
from penstock.core.strategy import Strategy
from penstock.core.trials import StudyTerms, Trial
from penstock.ports import OpenStudy
from penstock.research.engine.backtest import backtest
from penstock.research.engine.costs import Costs
from penstock.research.engine.results import SearchResult, SearchSettings
from penstock.research.journal import LookRecorder, UncountedLookWarning
from penstock.research.search.dashboard import write_dashboard_file
from penstock.research.search.objectives import Simulation
from penstock.research.search.runner import search
from penstock.research.search.samplers import Sampler, quiet_optuna
from penstock.research.search.settings import SamplerName
from penstock.research.search.space import search_space
from penstock.testing.memory_journal import MemoryResearchJournal
from penstock.testing.memory_trials import MemoryTrialStore
from strategies import STRATEGIES

MOMENTUM, MA = STRATEGIES["momentum"], STRATEGIES["ma_cross"]
COSTS = Costs()
SETTINGS = SearchSettings(trials=22, batch=4, seed=5)


@pytest.fixture(scope="module")
def bars(walk: Callable[..., pl.DataFrame]) -> pl.DataFrame:
    return walk(symbols=2, bars=160)


@pytest.fixture(scope="module")
def undisturbed(bars: pl.DataFrame) -> SearchResult:
    return search(bars, MOMENTUM, COSTS, SETTINGS, runner=InlineRunner(), threads=1)


def trials_of(found: SearchResult) -> list[dict[str, object]]:
    return found.trials.drop("took_ms").to_dicts()


def recorder(journal: MemoryResearchJournal) -> LookRecorder:
    at = SteppedClock(datetime(2026, 1, 5, tzinfo=UTC))
    return LookRecorder(journal, Actor("ana", Channel.NOTEBOOK), "practice", at)


def test_threads_change_nothing(bars: pl.DataFrame, undisturbed: SearchResult) -> None:
    """Three threads, whose trials end in any order, find what one finds."""
    assert trials_of(search(bars, MOMENTUM, COSTS, SETTINGS, threads=3)) == trials_of(undisturbed)


def test_trials_are_those_that_its_sampler_proposes_from_the_results(
    undisturbed: SearchResult,
) -> None:
    """Each batch is proposed with the results of the batches that it needs, and of no others."""
    trials = [
        Trial(row["number"], "momentum", json.loads(row["params"]), True, (row["value"],), {}, 0.0)
        for row in undisturbed.trials.iter_rows(named=True)
    ]
    sampler, learnt = Sampler(search_space(MOMENTUM), SETTINGS, [False]), 0
    with quiet_optuna():
        for batch in sampler.batches:
            for ready in sampler.batches[learnt : batch.needs]:
                sampler.learn(ready, trials[ready.first : ready.first + ready.size])
            learnt = max(learnt, batch.needs)
            found = [dict(params) for params in sampler.propose(batch)]
            assert found == [dict(t.params) for t in trials[batch.first :][: batch.size]]


class Stop(Exception):
    """The crash."""


@pytest.mark.parametrize("sampler", [SamplerName.QMC_TPE, SamplerName.TPE, SamplerName.NSGA2])
def test_search_that_is_broken_off_anywhere_ends_as_if_it_were_not(
    sampler: SamplerName, bars: pl.DataFrame
) -> None:
    """One store, broken off after ever more trials: what is kept is not evaluated again, and the
    end is the same. A complete search is only read.
    """
    settings = SETTINGS.model_copy(update={"sampler": sampler})
    whole = search(bars, MOMENTUM, COSTS, settings, threads=1)
    store, evaluated = MemoryTrialStore(), 0

    class Counted(MOMENTUM):  # type: ignore[misc, valid-type]  # a class that is chosen by name
        def __init__(self, params: object = None) -> None:
            nonlocal evaluated
            evaluated += 1
            super().__init__(params)

    for most in (1, 5, 6, 13, 21):

        def stop(trial: Trial, most: int = most) -> None:
            if trial.number == most:
                raise Stop

        with pytest.raises(Stop):
            search(bars, Counted, COSTS, settings, stop, store=store, runner=InlineRunner())
    found = search(bars, Counted, COSTS, settings, store=store)
    assert trials_of(found) == trials_of(whole)
    assert found.best_params == whole.best_params
    before, numbers = evaluated, []
    again = search(bars, Counted, COSTS, settings, lambda t: numbers.append(t.number), store=store)
    assert again.trials.equals(found.trials)
    assert numbers == list(range(22))
    assert evaluated - before == 1  # the choice itself


def test_two_workers_share_a_study_without_doing_anything_twice(
    bars: pl.DataFrame, undisturbed: SearchResult
) -> None:
    """Each evaluates some batches, no batch is evaluated twice, and both find the same."""
    store, lock = MemoryTrialStore(), threading.Lock()
    by: list[tuple[int, int]] = []
    both_have_one = threading.Barrier(2)

    @dataclass
    class Watched:
        """The store, as one worker uses it: what it appends is noted."""

        worker: int

        @contextmanager
        def open_study(self, terms: StudyTerms) -> Iterator[OpenStudy]:
            with store.open_study(terms) as study:
                append = study.append

                def noted(batch: int, trials: Sequence[Trial]) -> None:
                    with lock:
                        first = self.worker not in {worker for worker, _ in by}
                        by.append((self.worker, batch))
                    if first:  # however fast one is, the other has claimed a batch meanwhile
                        both_have_one.wait(30)
                    append(batch, trials)

                study.append = noted
                yield study

    def work(worker: int) -> SearchResult:
        return search(bars, MOMENTUM, COSTS, SETTINGS, store=Watched(worker), threads=1)

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(work, range(2))
    assert trials_of(one) == trials_of(other) == trials_of(undisturbed)
    assert sorted(batch for _, batch in by) == list(range(len(by)))
    assert {worker for worker, _ in by} == {0, 1}


def test_work_of_a_worker_that_ended_is_taken_over(
    bars: pl.DataFrame, undisturbed: SearchResult
) -> None:
    """Another has claimed the first batch and dies: the search waits for it, and then does it."""
    store, claimed, gone = MemoryTrialStore(), threading.Event(), threading.Event()
    name = undisturbed.study_name
    terms = StudyTerms(name, "momentum", ("sharpe",), (), 22)

    def die_later() -> None:
        with store.open_study(terms) as study:
            assert study.claim(0)
            claimed.set()
            assert gone.wait(20)

    class Waiting(SteppedClock):
        def sleep(self, seconds: float) -> None:
            gone.set()

    with ThreadPoolExecutor(1) as pool:
        dying = pool.submit(die_later)
        assert claimed.wait(20)
        clock = Waiting(datetime(2026, 1, 1, tzinfo=UTC))
        found = search(bars, MOMENTUM, COSTS, SETTINGS, store=store, threads=1, clock=clock)
        dying.result(20)
    assert trials_of(found) == trials_of(undisturbed)


def test_trials_of_another_sampler_version_are_not_mixed_in(
    bars: pl.DataFrame, undisturbed: SearchResult
) -> None:
    store = MemoryTrialStore()
    terms = StudyTerms(undisturbed.study_name, "momentum", ("sharpe",), (), 22)
    with store.open_study(terms) as study:
        other = Trial(0, "momentum", {"lookback_bars": 1}, True, (9.0,), {}, 0.0)
        study.append(0, [other])
    with pytest.raises(SearchError, match="another version of the sampler"):
        search(bars, MOMENTUM, COSTS, SETTINGS, store=store)


def test_looks_of_a_search_count_once_however_it_is_repeated(bars: pl.DataFrame) -> None:
    """Another seed adds its own trials; a renamed strategy, the same again, and grown bars nothing.
    The count deflates the choice.
    """
    journal = MemoryResearchJournal()
    record = recorder(journal)
    settings = SETTINGS.model_copy(update={"sampler": SamplerName.QMC})
    first = search(bars, MOMENTUM, COSTS, settings, journal=record)
    assert first.looks is not None
    distinct = first.trials["params"].n_unique()
    assert (first.looks.on_these_bars, first.looks.new) == (distinct, distinct)

    class Renamed(MOMENTUM):  # type: ignore[misc, valid-type]  # a class that is chosen by name
        """The best strategy."""

        name = "renamed"

    for strategy, seen in ((Renamed, bars), (MOMENTUM, bars.filter(pl.col("ts") > bars["ts"][9]))):
        again = search(seen, strategy, COSTS, settings, journal=record)
        assert again.looks is not None
        assert (again.looks.on_these_bars, again.looks.new) == (distinct, 0)
    other = search(bars, MOMENTUM, COSTS, settings.model_copy(update={"seed": 6}), journal=record)
    assert other.looks is not None
    assert other.looks.new > 0
    assert other.looks.on_these_bars == distinct + other.looks.new
    assert (
        other.deflated_sharpe
        < search(bars, MOMENTUM, COSTS, settings.model_copy(update={"seed": 6})).deflated_sharpe
    )
    newest = journal.newest(1)[0]
    assert (newest.look.about, newest.look.by.name, newest.trials) == ("momentum", "ana", 22)
    assert newest.best["sharpe"] == other.in_sample.metrics.sharpe
    assert newest.look.bars.last == other.in_sample_end


def test_trials_of_a_broken_off_search_are_on_the_journal(bars: pl.DataFrame) -> None:
    """What was tried before the crash was seen, and counts."""
    journal = MemoryResearchJournal()

    def stop(trial: Trial) -> None:
        if trial.number == 6:
            raise Stop

    with pytest.raises(Stop):
        search(bars, MOMENTUM, COSTS, SETTINGS, stop, journal=recorder(journal))
    (left,) = journal.newest(9)
    assert left.trials is None
    assert left.configurations >= 7


def test_backtest_is_a_look_at_the_bars_that_it_shows(bars: pl.DataFrame) -> None:
    """A strategy and given weights alike, from the account's opening on; without a journal there is
    a warning.
    """
    journal = MemoryResearchJournal()
    start, weights = bars["ts"][100], bars.select("symbol", "ts", weight=pl.lit(0.5))
    for decisions in (MOMENTUM(), weights, MOMENTUM()):
        backtest(bars, decisions, start=start, journal=recorder(journal))
    looks = journal.newest(9)
    assert [each.look.about for each in looks] == ["momentum", "given weights", "momentum"]
    assert journal.tried(looks[0].look.bars) == 2
    assert looks[0].look.bars.first == start
    with pytest.warns(UncountedLookWarning, match="this backtest is on no research journal"):
        backtest(bars, weights)
    with pytest.warns(UncountedLookWarning, match="this search is on no research journal"):
        search(bars, MOMENTUM, COSTS, SETTINGS)


def up_bars(done: Simulation) -> float:
    """The fraction of bars at which equity rose: an objective of one's own."""
    return float((done.equity[1:] > done.equity[:-1]).mean())


def nothing(done: Simulation) -> str:
    return "nothing"


def test_objective_and_metric_may_be_functions(bars: pl.DataFrame) -> None:
    """They are named or given, see the simulated trial, and make another search."""
    settings = SearchSettings(trials=6, objective=up_bars, metrics=(up_bars,))  # type: ignore[arg-type]
    assert settings.objective == (f"{__name__}:up_bars",)
    found = search(bars, MA, COSTS, settings)
    equity = found.in_sample.equity["equity"].to_numpy()
    assert found.best_value == float((equity[1:] > equity[:-1]).mean())
    assert found.trials["up_bars"].to_list() == found.trials["value"].to_list()
    assert found.id != search(bars, MA, COSTS, SearchSettings(trials=6)).id
    for wrong, reason in (
        (f"{__name__}:nothing", "returned 'nothing': it must return a number"),
        ("penstock.nowhere:f", "cannot be found"),
        (f"{__name__}:missing", "cannot be found"),
    ):
        with pytest.raises(SearchError, match=reason):
            search(bars, MA, COSTS, SearchSettings(trials=2, objective=(wrong,)))


def test_front_of_two_objectives_is_written_for_the_dashboard(
    bars: pl.DataFrame, tmp_path: Path
) -> None:
    """The choice is on the front. The file has every trial, with both values, for Optuna."""
    settings = SearchSettings(trials=12, objective=("sharpe", "turnover"))
    found = search(bars, [MA, MOMENTUM], COSTS, settings)
    assert found.candidates[0] in found.front
    assert found.best_value == found.candidates[0].values[0]
    best = found.trials["value"].max()
    assert any(each.values[0] == best for each in found.front)
    path = tmp_path / "trials.log"
    strategies: list[type[Strategy]] = [MA, MOMENTUM]
    names = write_dashboard_file(found, strategies, path)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    for name, strategy in zip(names, strategies, strict=True):
        study = optuna.load_study(study_name=name, storage=storage)
        own = found.trials.filter(pl.col("strategy") == strategy.name)
        kept = [tuple(each.values) for each in study.get_trials()]
        assert kept == list(own.select("objective_sharpe", "objective_turnover").iter_rows())
        assert [each.name for each in study.directions] == ["MAXIMIZE", "MINIMIZE"]
        states = {each.state for each in study.get_trials()}
        assert states == {optuna.trial.TrialState.COMPLETE}
    with pytest.raises(SearchError, match="name a new file"):
        write_dashboard_file(found, strategies, path)
