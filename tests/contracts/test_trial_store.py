"""What every TrialStore promises: the one in PostgreSQL, and the one in memory."""

import math

import pytest

from penstock.adapters.stores.postgres import Database, PostgresTrialStore
from penstock.core.trials import ParamValues, StudyTerms, Trial
from penstock.ports import TrialStore
from penstock.testing.memory_trials import MemoryTrialStore


@pytest.fixture
def store(tier: str, request: pytest.FixtureRequest) -> TrialStore:
    if tier == "memory":
        return MemoryTrialStore()
    database: Database = request.getfixturevalue("database")
    return PostgresTrialStore(database)


@pytest.fixture
def terms(name: str) -> StudyTerms:
    return StudyTerms(name, "trend", ("sharpe", "calmar"), ("orders", "turnover"), 6)


def trial(number: int) -> Trial:
    """A trial whose figures are hard to keep: no number, infinite, and not a short fraction."""
    params: ParamValues = {
        "n": number,
        "exact": 0.1 + 0.2,
        "tiny": 1e-300,
        "whole": 3.0,
        "kind": "a",
        "on": True,
    }
    metrics = {"orders": math.nan, "turnover": math.inf}
    return Trial(number, "trend", params, True, (1 / 3, -math.inf), metrics, 1.5)


def test_trials_come_back_as_they_were_in_whole_batches(
    store: TrialStore, terms: StudyTerms
) -> None:
    """Kinds and every digit of parameters and figures, and what the strategy did not allow."""
    forbidden = Trial(2, "trend", {"n": 2}, False, (), {}, 0.0)
    with store.open_study(terms) as study:
        assert study.batches() == {}
        for batch, trials in enumerate([[trial(0), trial(1)], [forbidden]]):
            assert study.claim(batch)
            study.append(batch, trials)
    with store.open_study(terms) as again:
        kept = again.batches()
        assert list(kept) == [0, 1]
        assert repr(list(kept[0])) == repr([trial(0), trial(1)])  # NaN is not equal to itself
        assert list(kept[1]) == [forbidden]
        assert list(again.batches(first=1)) == [1]


def test_batch_has_one_worker_until_it_is_kept_or_the_worker_ends(
    store: TrialStore, terms: StudyTerms
) -> None:
    """Whoever ends gives back what it had taken. What is kept is not evaluated again."""
    with store.open_study(terms) as first:
        with store.open_study(terms) as second:
            assert second.claim(0)
            assert second.claim(1)
            assert not first.claim(0)
            second.append(0, [trial(0)])
            assert not first.claim(0)
            assert not first.claim(1)
        assert first.claim(1)
        assert not first.claim(0)


def test_batch_that_is_kept_stays_as_it_is(store: TrialStore, terms: StudyTerms) -> None:
    """A late worker that has lost its right changes nothing. Other studies are apart."""
    with store.open_study(terms) as study:
        assert study.claim(0)
        study.append(0, [trial(0)])
        late = Trial(0, "trend", {"n": 99}, True, (9.0, 9.0), {"orders": 1, "turnover": 1}, 9.0)
        study.append(0, [late])
        assert [each.params["n"] for each in study.batches()[0]] == [0]
    other = StudyTerms(f"{terms.name}-other", "trend", ("sharpe",), (), 1)
    with store.open_study(other) as study:
        assert study.batches() == {}
        assert study.claim(0)
