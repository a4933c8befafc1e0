"""What every CandidateRegistry and SearchTracker promises.

The suite runs against MLflow over a database file and over a real server, and against what
penstock.testing keeps in memory.

The versions are real: a small search, recorded and registered.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from itertools import count
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest

from penstock.adapters.mlflow.connection import local_tracking_uri
from penstock.adapters.mlflow.registry import MlflowRegistry
from penstock.adapters.mlflow.tracking import MlflowTracker
from penstock.core.bars import require_bars
from penstock.core.errors import PromotionError
from penstock.core.strategy import Strategy
from penstock.core.timeframes import Timeframe
from penstock.data.snapshots import Snapshot, write_snapshot
from penstock.ports import LoadedModel, Registry
from penstock.promotion.criteria import CriterionResult, PromotionThresholds
from penstock.promotion.evidence import Evidence, gather_evidence
from penstock.promotion.gate import CandidateStatus
from penstock.promotion.measures import SnapshotMeasure, measure_on
from penstock.promotion.promote import Promotion, Rehearse, promote
from penstock.promotion.records import (
    CandidateRegistry,
    RecordedSearch,
    SearchedSnapshot,
    SearchTracker,
)
from penstock.promotion.rollback import rollback
from penstock.research.engine.backtest import backtest
from penstock.research.engine.costs import Costs
from penstock.research.engine.results import BacktestMetrics, SearchResult, SearchSettings
from penstock.research.search.runner import search
from penstock.testing.memory_promotions import MemoryPromotionStore
from penstock.testing.memory_registry import MemoryRegistry
from penstock.testing.memory_rollbacks import MemoryRollbackRecord
from strategies.ma_cross import MovingAverageCross

pytestmark = pytest.mark.slow

NOW = datetime(2026, 1, 5, tzinfo=UTC)
#: The gate's arithmetic has tests of its own: here everything passes that is not about the
#: registry.
LENIENT = PromotionThresholds(
    min_out_of_sample_sharpe=-99,
    max_out_of_sample_drawdown=1,
    min_deflated_sharpe=0,
    max_turnover=1e6,
    min_sharpe_retention=-1e6,
    min_doubled_cost_return=-1,
    min_out_of_sample_orders=0,
)
_names = count()


@dataclass
class MemoryTracker:
    """Searches as the registry in memory takes them."""

    registry: MemoryRegistry
    recorded: dict[str, RecordedSearch] = field(default_factory=dict)

    def record_search(
        self,
        search: SearchResult,
        strategy_class: type[Strategy],
        snapshot: SearchedSnapshot,
        evidence: Evidence | None = None,
    ) -> str:
        known = evidence or gather_evidence(search, strategy_class, snapshot.bars())
        run = self.registry.record_run(strategy_class, known, snapshot.exchange)
        self.recorded.setdefault(run, RecordedSearch(run, search.id, NOW, known, snapshot.path))
        return run

    def newest_search(self) -> RecordedSearch | None:
        return next(reversed(self.recorded.values()), None)

    def read_search(self, run_id: str) -> RecordedSearch:
        if run_id not in self.recorded:
            raise PromotionError(f"run {run_id} is not a recorded search")
        return self.recorded[run_id]


@dataclass
class Desk:
    """A registry, and how to put versions into it."""

    tracking_uri: str
    record: MemoryPromotionStore
    registry: CandidateRegistry
    tracker: SearchTracker
    snapshot: Snapshot
    searches: dict[int, SearchResult]
    evidence: dict[int, Evidence]
    rollbacks: MemoryRollbackRecord = field(default_factory=MemoryRollbackRecord)
    runs: dict[int, str] = field(default_factory=dict)

    def new_name(self) -> str:
        return f"model-{next(_names)}"

    def run_of(self, seed: int) -> str:
        """Return the run of the search with this seed, recorded when it is first asked for."""
        if seed not in self.runs:
            self.runs[seed] = self.record_search(seed)
        return self.runs[seed]

    def record_search(self, seed: int) -> str:
        if seed not in self.searches:
            self.searches[seed] = search(
                self.snapshot.bars(),
                MovingAverageCross,
                Costs(),
                SearchSettings(trials=6, seed=seed),
                dataset_hash=self.snapshot.content_hash,
            )
            self.evidence[seed] = gather_evidence(
                self.searches[seed], MovingAverageCross, self.snapshot.bars()
            )
        return self.tracker.record_search(
            self.searches[seed], MovingAverageCross, self.snapshot, self.evidence[seed]
        )

    def register(self, name: str, seed: int) -> str:
        return self.registry.register(self.run_of(seed), name).version

    def out_of_sample_sharpe(self, seed: int) -> float:
        """Return what the gate will see of this search's choice."""
        found = self.searches[seed]
        chosen = MovingAverageCross.from_params(dict(found.best_params))
        start, costs = found.out_of_sample_start, found.costs
        return backtest(self.snapshot.bars(), chosen, costs, start=start).metrics.sharpe

    def rollback(self, name: str) -> tuple[str, str]:
        return rollback(self.registry, self.rollbacks, name, NOW, "ana")

    @cached_property
    def candidate(self) -> tuple[str, str]:
        """A model and its only version, for tests that leave it without a judgement and alias."""
        name = self.new_name()
        return name, self.register(name, seed=1)

    def promote(
        self,
        name: str,
        version: str,
        thresholds: PromotionThresholds = LENIENT,
        rehearse: Rehearse | None = None,
    ) -> Promotion:
        candidate = self.registry.find(name, version)
        assert candidate is not None
        evidence = self.registry.evidence(name, version)
        measure = measure_on(self.snapshot.bars(), evidence)
        return promote(
            self.registry,
            self.record,
            candidate,
            evidence,
            measure,
            thresholds,
            NOW,
            "ana",
            rehearse,
            rollbacks=self.rollbacks,
        )


def synthetic_bars(bars: int = 700) -> pl.DataFrame:
    """Two random walks whose drift comes and goes, seeded: the same bars each time."""
    random = np.random.default_rng(3)
    frames = []
    for symbol in ("AAA/USDT", "BBB/USDT"):
        swing = 0.001 + 0.015 * np.sin(2 * np.pi * np.arange(bars) / 90)
        close = 100 * np.exp(np.cumsum(random.normal(swing, 0.03)))
        opened = np.concatenate([[100.0], close[:-1]])
        frames.append(
            pl.DataFrame(
                {
                    "symbol": symbol,
                    "ts": [
                        datetime(2022, 1, 1, tzinfo=UTC) + timedelta(days=i) for i in range(bars)
                    ],
                    "open": opened,
                    "high": np.maximum(opened, close) * 1.01,
                    "low": np.minimum(opened, close) * 0.99,
                    "close": close,
                    "volume": np.full(bars, 1e4),
                }
            )
        )
    return require_bars(pl.concat(frames), "synthetic").sort("symbol", "ts")


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return write_snapshot(
        synthetic_bars(), "synthetic", Timeframe.D1, tmp_path_factory.mktemp("snapshots")
    )


@pytest.fixture(scope="module")
def searches() -> dict[int, SearchResult]:
    """The searches that were made, by seed, for both stores."""
    return {}


@pytest.fixture(scope="module")
def evidence() -> dict[int, Evidence]:
    """What was measured of each search, by seed, for both stores."""
    return {}


@pytest.fixture(scope="module")
def mlflow_server(mlflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server on loopback behind a password, its own database and artifacts."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(mlflow_database, folder / "server.db")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "penstock.adapters.mlflow.server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder / 'server.db'}",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    environment = {
        **os.environ,
        "PENSTOCK_MLFLOW_AUTH": "ana:secret",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, cwd=folder, start_new_session=True
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", server, folder / "log")
        yield f"http://ana:secret@127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait(20)


def _wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(url, timeout=2, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise AssertionError(
        f"the MLflow server did not come up:\n{log.read_text(errors='replace')[-2000:]}"
    )


@pytest.fixture(scope="module")
def sessions(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    snapshot: Snapshot,
    searches: dict[int, SearchResult],
    evidence: dict[int, Evidence],
) -> Callable[[str], Desk]:
    """Return the registry over a "database" or a "server" or in "memory", each made when it is
    first asked for.
    """

    @cache
    def of(where: str) -> Desk:
        if where == "memory":
            kept = MemoryPromotionStore()
            memory = MemoryRegistry(kept)
            return Desk("", kept, memory, MemoryTracker(memory), snapshot, searches, evidence)
        if where == "database":
            folder = tmp_path_factory.mktemp("database")
            shutil.copy(request.getfixturevalue("mlflow_database"), folder)
            uri = local_tracking_uri(folder)
        else:
            uri = request.getfixturevalue("mlflow_server")
        record = MemoryPromotionStore()
        registry, tracker = MlflowRegistry(uri, record), MlflowTracker(uri, "contract", record)
        return Desk(uri, record, registry, tracker, snapshot, searches, evidence)

    return of


@pytest.fixture(params=["database", "server", "memory"])
def session(request: pytest.FixtureRequest, sessions: Callable[[str], Desk]) -> Desk:
    """The registry under test."""
    return sessions(request.param)


@pytest.fixture(params=["database", "server"])
def served(request: pytest.FixtureRequest, sessions: Callable[[str], Desk]) -> Desk:
    """MLflow's registry, for what only it promises: its tags, and code of its own."""
    return sessions(request.param)


@pytest.fixture(params=["database", pytest.param("server", marks=pytest.mark.soak), "memory"])
def gated(request: pytest.FixtureRequest, sessions: Callable[[str], Desk]) -> Desk:
    """The registry under what promotion does with it: calls that other tests hold to both."""
    return sessions(request.param)


def test_absent_models_versions_and_aliases_are_none_or_an_error(session: Desk) -> None:
    """Finding what is not there gives None; loading it raises with the remedy."""
    registry: Registry = session.registry
    assert registry.find("nobody", "champion") is None
    assert list(registry.versions("nobody")) == []
    with pytest.raises(PromotionError, match="'nobody' has no version or alias 'champion'"):
        registry.load("nobody", "champion")
    name, _ = session.candidate
    assert registry.find(name, "champion") is None
    assert registry.find(name, "99") is None


def test_version_is_found_by_number_and_by_alias_with_its_tags(served: Desk) -> None:
    """A moved alias is seen on the version, in find and in the list alike."""
    name = served.new_name()
    version = served.register(name, seed=1)
    served.registry.move_alias(name, "champion", version)
    served.registry.move_alias(name, "challenger", version)
    found = served.registry.find(name, "champion")
    assert found is not None
    assert found == served.registry.find(name, version)
    assert found.aliases == ("challenger", "champion")
    assert [v.aliases for v in served.registry.versions(name)] == [("challenger", "champion")]
    assert found.tags["dataset_hash"] == served.snapshot.content_hash
    assert found.tags["search_id"] == served.searches[1].id
    assert {"content_hash", "environment_hash", "source_sha256", "strategy", "git_commit"} <= set(
        found.tags
    )


def test_alias_moves_and_cannot_point_at_nothing(session: Desk) -> None:
    """An alias names one version; pointing it at a version that does not exist is refused."""
    name = session.new_name()
    first, second = session.register(name, seed=1), session.register(name, seed=2)
    session.registry.move_alias(name, "champion", first)
    session.registry.move_alias(name, "champion", second)
    found = session.registry.find(name, "champion")
    assert found is not None
    assert found.version == second
    assert [v.version for v in session.registry.versions(name)] == [second, first]
    with pytest.raises(PromotionError, match="has no version 99"):
        session.registry.move_alias(name, "champion", "99")


def test_same_content_is_registered_once(session: Desk) -> None:
    """Recording and registering again changes nothing."""
    name, run = session.new_name(), session.run_of(1)
    assert session.record_search(1) == run
    gathered_again = session.tracker.record_search(
        session.searches[1], MovingAverageCross, session.snapshot
    )
    assert gathered_again == run
    assert session.register(name, seed=1) == session.register(name, seed=1)
    assert len(session.registry.versions(name)) == 1


def test_loaded_strategy_decides_as_the_searched_one(served: Desk) -> None:
    """What is loaded has the searched parameters and gives the same weights, in a fresh registry
    object too.
    """
    name = served.new_name()
    version = served.register(name, seed=1)
    served.promote(name, version)
    loaded = MlflowRegistry(served.tracking_uri, served.record).load(name, version)
    searched = MovingAverageCross.from_params(dict(served.searches[1].best_params))
    assert loaded.strategy.params.model_dump() == searched.params.model_dump()
    assert loaded.strategy.decide(served.snapshot.bars()).equals(
        searched.decide(served.snapshot.bars())
    )
    assert type(loaded.strategy) is not MovingAverageCross, (
        "it must come from the registry's copy, not from the checkout"
    )


def test_newest_search_is_the_one_that_was_recorded_last(session: Desk) -> None:
    """It is read back with its run, its search and its snapshot; what is no search is an error."""
    run = session.run_of(3)
    newest = session.tracker.newest_search()
    assert newest is not None
    assert newest == session.tracker.read_search(run)
    assert (newest.run_id, newest.search_id) == (run, session.searches[3].id)
    assert newest.snapshot_path == session.snapshot.path
    for ask in (session.tracker.read_search, lambda run: session.registry.register(run, "none")):
        with pytest.raises(PromotionError):
            ask("0" * 32)


def test_evidence_comes_back_as_it_was_recorded(session: Desk) -> None:
    """The newest search's evidence and the version's are the same value, with the leaks. What the
    bars out of sample show is not in it.
    """
    name, version = session.candidate
    evidence = session.registry.evidence(name, version)
    assert evidence == session.tracker.read_search(session.run_of(1)).evidence
    assert evidence.leaks == ()
    assert evidence.memory_excess == ()
    assert (evidence.out_of_sample, evidence.doubled_costs) == (None, None)


def test_life_of_a_model_from_first_champion_to_rollback(session: Desk) -> None:
    """First champion, then a better one, then back: every alias in its place, every verdict
    recorded.
    """
    name = session.new_name()
    sharpe = {session.register(name, seed): session.out_of_sample_sharpe(seed) for seed in (1, 2)}
    worse, better = min(sharpe, key=sharpe.__getitem__), max(sharpe, key=sharpe.__getitem__)
    assert sharpe[worse] < sharpe[better], "the seeds must find different parameters"

    first = session.promote(name, worse)
    assert first.gate.decision is CandidateStatus.CHAMPION, first.gate.reason
    saved = session.record.saved[-1]
    assert (saved.model, saved.version, saved.gate) == (name, worse, first.gate)
    with pytest.raises(PromotionError, match="no champion before"):
        session.rollback(name)

    second = session.promote(name, better)
    assert second.gate.decision is CandidateStatus.CHAMPION, second.gate.reason
    assert (second.champion_before, second.champion_after, second.moved) == (worse, better, True)
    assert aliases(session, name) == {"champion": better, "challenger": better, "previous": worse}

    again = session.promote(name, better)
    assert not again.moved
    assert aliases(session, name) == {"champion": better, "challenger": better, "previous": worse}

    challenger = session.promote(name, worse)
    assert challenger.gate.decision is CandidateStatus.CHALLENGER
    assert aliases(session, name) == {"champion": better, "challenger": worse, "previous": worse}

    assert session.rollback(name) == (better, worse)
    assert session.registry.load(name, "champion").version.version == worse
    with pytest.raises(PromotionError, match="previous champion already"):
        session.rollback(name)

    refused = session.promote(name, better)
    assert refused.gate.decision is CandidateStatus.REJECTED
    assert [verdict.criterion for verdict in refused.gate.failures] == ["not_rolled_back"]

    versions = {each.version: each.tags for each in session.registry.versions(name)}
    shown = {version: tags["gate"] for version, tags in versions.items()}
    assert shown == {worse: "challenger, performance not judged", better: "rejected"}


def test_alias_moved_past_the_gate_loads_nothing(served: Desk) -> None:
    """Whoever moves `champion` in MLflow to a version that the gate never saw gets it refused, and
    none of its code runs. The champion before is still there to go back to.
    """
    name = served.new_name()
    passed, unseen = served.register(name, seed=1), served.register(name, seed=2)
    served.promote(name, passed)
    served.registry.move_alias(name, "champion", unseen)
    for registry in (served.registry, MlflowRegistry(served.tracking_uri, served.record)):
        with pytest.raises(PromotionError, match=f"{name}/{unseen} is not on record as passed"):
            registry.load(name, "champion")
    served.registry.move_alias(name, "champion", passed)
    assert served.registry.load(name, "champion").version.version == passed


#: Whoever passes becomes champion.
ALWAYS = LENIENT.model_copy(update={"min_sharpe_over_champion": -99.0})


def test_rollback_while_another_version_rehearses_is_seen_before_aliases_move(
    gated: Desk,
) -> None:
    """`previous` is the champion that the new one replaces, not the one that was rolled back
    meanwhile. The comparison is with the champion that is there then.
    """
    name = gated.new_name()
    first, second, third = (gated.register(name, seed) for seed in (1, 2, 3))
    gated.promote(name, first, ALWAYS)
    gated.promote(name, second, ALWAYS)

    def rehearse(_: LoadedModel) -> CriterionResult:
        assert gated.rollback(name) == (second, first)
        return CriterionResult("rehearsal", True, 0.0, 0.1, "30 slots")

    outcome = gated.promote(name, third, ALWAYS, rehearse)
    assert (outcome.champion_before, outcome.champion_after) == (first, third)
    assert aliases(gated, name) == {
        "champion": third,
        "challenger": third,
        "previous": first,
        "rolled_back": second,
    }
    assert gated.rollback(name) == (third, first)


def test_champion_that_is_replaced_in_mid_comparison_is_compared_again(gated: Desk) -> None:
    """The champion's figures are of the one that is champion when the aliases move."""
    name = gated.new_name()
    first, second, third = (gated.register(name, seed) for seed in (1, 2, 3))
    gated.promote(name, first, ALWAYS)
    gated.promote(name, second, ALWAYS)
    candidate = gated.registry.find(name, third)
    assert candidate is not None
    evidence = gated.registry.evidence(name, third)
    measured: list[float] = []

    class Interrupted(SnapshotMeasure):
        def out_of_sample(self, strategy: Strategy) -> BacktestMetrics:
            figures = super().out_of_sample(strategy)
            measured.append(figures.sharpe)
            if len(measured) == 1:
                gated.rollback(name)
            return figures

    measure = SnapshotMeasure(gated.snapshot.bars(), evidence, (), ())
    outcome = promote(
        gated.registry,
        gated.record,
        candidate,
        evidence,
        Interrupted(gated.snapshot.bars(), evidence, (), ()),
        ALWAYS,
        NOW,
        "ana",
        rollbacks=gated.rollbacks,
    )
    rivals = [gated.registry.load(name, version).strategy for version in (second, first)]
    assert measured == [measure.out_of_sample(rival).sharpe for rival in rivals]
    assert outcome.champion_before == first
    assert aliases(gated, name)["previous"] == first


def test_every_strategy_that_was_rolled_back_is_refused_also_when_found_again(
    gated: Desk,
) -> None:
    """Two versions are taken out, one after the other. Neither passes again, nor does a later
    version with the source and parameters of the first.
    """
    name = gated.new_name()
    first, second, third = (gated.register(name, seed) for seed in (1, 2, 3))
    gated.promote(name, first, ALWAYS)
    for version in (second, third):
        assert gated.promote(name, version, ALWAYS).champion_after == version
        assert gated.rollback(name) == (version, first)
    found_again = replace(gated.searches[2], id="found again the next night")
    known = gated.evidence[2].model_copy(update={"search_id": found_again.id})
    run = gated.tracker.record_search(found_again, MovingAverageCross, gated.snapshot, known)
    fourth = gated.registry.register(run, name).version
    assert fourth not in {first, second, third}
    for version, of in ((second, second), (third, third), (fourth, second)):
        refused = gated.promote(name, version, ALWAYS)
        assert refused.gate.decision is CandidateStatus.REJECTED
        (verdict,) = refused.gate.failures
        assert verdict.criterion == "not_rolled_back"
        assert f"version {of}" in verdict.reason
    assert aliases(gated, name)["champion"] == first


def test_rejected_candidate_moves_no_alias_and_its_verdicts_are_recorded(session: Desk) -> None:
    """A gate that says no leaves the registry as it was."""
    name, version = session.candidate
    outcome = session.promote(
        name, version, LENIENT.model_copy(update={"min_out_of_sample_sharpe": 99.0})
    )
    assert outcome.gate.decision is CandidateStatus.REJECTED
    assert aliases(session, name) == {}
    saved = session.record.saved[-1]
    assert (saved.model, saved.version) == (name, version)
    assert [verdict.passed for verdict in saved.gate.verdicts].count(False) == 1
    with pytest.raises(PromotionError, match="not on record as passed by the gate"):
        session.registry.load(name, version)


def test_candidate_that_does_not_reproduce_its_evidence_is_rejected(gated: Desk) -> None:
    """The registered version's own backtest is what counts: evidence that claims more than it shows
    is refused.
    """
    name, version = gated.candidate
    candidate = gated.registry.find(name, version)
    assert candidate is not None
    honest = gated.registry.evidence(name, candidate.version)
    better = replace(honest.in_sample, final_equity=honest.in_sample.final_equity * 1.0001)
    claimed = honest.model_copy(update={"in_sample": better})
    measure = measure_on(gated.snapshot.bars(), claimed)
    outcome = promote(
        gated.registry,
        MemoryPromotionStore(),
        candidate,
        claimed,
        measure,
        LENIENT,
        NOW,
        "ana",
        rollbacks=gated.rollbacks,
    )
    assert [verdict.criterion for verdict in outcome.gate.failures] == ["reproduces_evidence"]
    assert aliases(gated, name) == {}


def test_bars_that_do_not_cover_the_evidence_are_refused(gated: Desk) -> None:
    """A champion must be measured on the candidate's bars, not on whatever is at hand."""
    evidence = gated.tracker.read_search(gated.run_of(1)).evidence
    for bars in (
        gated.snapshot.bars().head(100),
        gated.snapshot.bars().filter(pl.col("symbol") == "AAA/USDT"),
    ):
        with pytest.raises(PromotionError, match="use the snapshot"):
            measure_on(bars, evidence)


def aliases(session: Desk, name: str) -> dict[str, str]:
    return {
        alias: version.version
        for version in session.registry.versions(name)
        for alias in version.aliases
    }


def test_unreachable_server_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no server answers, a PromotionError names the address without its password."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    registry = MlflowRegistry(f"http://someone:secret@{address}", MemoryPromotionStore())
    with pytest.raises(PromotionError, match=address) as caught:
        registry.find("model", "champion")
    assert "secret" not in str(caught.value)


def test_server_asks_for_its_password_and_refuses_other_sites(mlflow_server: str) -> None:
    """Without the password 401, and the browser is told to ask for it. A page of another site, of
    another port of this machine too, is refused with the password as well. /health needs none.
    """
    plain = mlflow_server.replace("ana:secret@", "")
    listed = "/api/2.0/mlflow/experiments/search?max_results=5"
    with httpx.Client(trust_env=False) as client:
        asked = client.get(plain + listed)
        assert (asked.status_code, asked.headers["www-authenticate"][:5]) == (401, "Basic")
        assert client.get(plain + listed, auth=("ana", "wrong")).status_code == 401
        assert client.get(plain).status_code == 401, "the pages too"
        assert client.get(plain + "/health").status_code == 200
        assert client.get(mlflow_server + listed).status_code == 200
        for origin in ("https://evil.example", "http://127.0.0.1:9", "null"):
            for auth in (None, ("ana", "secret")):
                refused = client.get(plain + listed, auth=auth, headers={"origin": origin})
                assert refused.status_code == 403, (origin, auth)
        same = client.get(mlflow_server + listed, headers={"origin": plain})
        assert same.status_code == 200
