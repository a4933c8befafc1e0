"""What a recorded search leaves in MLflow, read back through MLflow's own client; and what a
changed version does.
"""

import hashlib
import json
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from penstock.adapters.mlflow.connection import (
    artifact_location,
    connect,
    fluent,
    local_tracking_uri,
    without_password,
)
from penstock.adapters.mlflow.content import Manifest, read_version, source_of
from penstock.adapters.mlflow.registry import MlflowRegistry
from penstock.adapters.mlflow.tracking import MlflowTracker
from penstock.core.bars import require_bars
from penstock.core.errors import PromotionError
from penstock.core.strategy import Strategy
from penstock.core.timeframes import Timeframe
from penstock.data.snapshots import Snapshot, write_snapshot
from penstock.ports import ModelVersion
from penstock.promotion.gate import CandidateStatus, GateDecision
from penstock.promotion.records import Judgement
from penstock.research.engine.costs import Costs
from penstock.research.engine.results import SearchResult, SearchSettings
from penstock.research.search.runner import search
from penstock.testing.memory_promotions import MemoryPromotionStore

#: Appended to a strategy's source. Whoever runs it ends.
MALICE = "\nraise SystemExit('run')\n"

STRATEGY_FILE = '''
"""Follow the last close."""

import polars as pl
from pydantic import Field

from penstock.core.strategy import FrameStrategy, Strategy, StrategyParams


class FollowTheClose(FrameStrategy):
    """Half of equity in what closed higher than `lag_bars` bars before."""

    name = "follower"

    class Params(StrategyParams):
        lag_bars: int = Field(1, ge=1, le=60)

    params: Params

    @property
    def warmup_bars(self) -> int:
        return self.params.lag_bars

    def frame_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
        rose = pl.col("close") > pl.col("close").shift(self.params.lag_bars).over("symbol")
        return bars.select("symbol", "ts", weight=rose.cast(pl.Float64) * 0.5)
'''


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    random = np.random.default_rng(11)
    close = 50 * np.exp(np.cumsum(random.normal(0, 0.02, 300)))
    values = dict.fromkeys(("open", "high", "low", "close", "volume"), close)
    ts = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=i) for i in range(300)]
    bars = require_bars(pl.DataFrame({"symbol": "AAA/USDT", "ts": ts, **values}), "synthetic")
    return write_snapshot(bars, "synthetic", Timeframe.D1, tmp_path_factory.mktemp("snapshots"))


@pytest.fixture(scope="module")
def follower(tmp_path_factory: pytest.TempPathFactory) -> type[Strategy]:
    """A strategy in a file of its own, that is not part of the checkout."""
    folder = tmp_path_factory.mktemp("strategy")
    (folder / "penstock_test_follower.py").write_text(STRATEGY_FILE)
    sys.path.insert(0, str(folder))
    import penstock_test_follower  # type: ignore[import-not-found]  # the test writes it

    sys.path.remove(str(folder))
    strategy: type[Strategy] = penstock_test_follower.FollowTheClose
    return strategy


@pytest.fixture(scope="module")
def found(snapshot: Snapshot, follower: type[Strategy]) -> SearchResult:
    settings = SearchSettings(trials=16, top=16)
    return search(snapshot.bars(), follower, Costs(), settings, dataset_hash=snapshot.content_hash)


@pytest.fixture(scope="module")
def tracking_uri(mlflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("mlflow")
    shutil.copy(mlflow_database, folder)
    return local_tracking_uri(folder)


@pytest.fixture(scope="module")
def record() -> MemoryPromotionStore:
    return MemoryPromotionStore()


@pytest.fixture(scope="module")
def run_id(
    tracking_uri: str,
    record: MemoryPromotionStore,
    found: SearchResult,
    follower: type[Strategy],
    snapshot: Snapshot,
) -> str:
    return MlflowTracker(tracking_uri, "test", record).record_search(found, follower, snapshot)


def test_run_holds_parameters_metrics_series_and_dataset(
    tracking_uri: str, run_id: str, found: SearchResult, snapshot: Snapshot
) -> None:
    """Everything a reviewer asks of a search is on its run."""
    client = connect(tracking_uri)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["best.lag_bars"] == str(found.best_params["lag_bars"])
    assert run.data.params["dataset_hash"] == snapshot.content_hash
    assert run.data.metrics["in_sample.sharpe"] == pytest.approx(found.in_sample.metrics.sharpe)
    assert not [name for name in run.data.metrics if "out_of_sample" in name]
    assert run.data.metrics["trials"] == found.trial_count
    complete = found.trials.filter(pl.col("value").is_finite())
    series = client.get_metric_history(run_id, "trial_value")
    assert [point.value for point in series] == pytest.approx(
        complete.sort("number")["value"].to_list()
    )
    assert [point.step for point in series] == complete.sort("number")["number"].to_list()
    (dataset,) = run.inputs.dataset_inputs
    assert json.loads(dataset.dataset.source)["content_hash"] == snapshot.content_hash


def test_run_holds_trials_plots_source_and_evidence_as_artifacts(
    tracking_uri: str, run_id: str, found: SearchResult, tmp_path: Path
) -> None:
    """Artifacts open without this checkout: the table of trials, pictures, an offline page, the
    strategy's own file.
    """
    folder = Path(connect(tracking_uri).download_artifacts(run_id, "", str(tmp_path)))
    assert pl.read_parquet(folder / "trials.parquet").height == found.trials.height
    for name in ("equity.png", "drawdown.png"):
        assert (folder / "plots" / name).read_bytes().startswith(b"\x89PNG")
    assert "https://cdn.plot.ly" not in (folder / "plots" / "report.html").read_text()[:2000]
    assert (folder / "version" / "strategy.py").read_text() == STRATEGY_FILE
    assert read_version(folder / "version").evidence.search_id == found.id


def test_only_the_best_candidates_get_runs_of_their_own(
    tracking_uri: str, run_id: str, found: SearchResult
) -> None:
    """At most ten candidates; never one run per trial."""
    client = connect(tracking_uri)
    experiment = client.get_run(run_id).info.experiment_id
    children = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{run_id}'")
    kinds = [child.data.tags["penstock.kind"] for child in children]
    assert len(found.candidates) > 10
    assert kinds == ["candidate"] * 10
    assert {child.info.status for child in children} == {"FINISHED"}


def test_recording_that_fails_is_marked_and_done_again(
    tracking_uri: str,
    found: SearchResult,
    follower: type[Strategy],
    snapshot: Snapshot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A crash in the middle leaves a FAILED run that no promotion picks; the next recording is
    whole.
    """
    tracker = MlflowTracker(tracking_uri, "crash", MemoryPromotionStore())

    def disk_full(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(tracker._client, "log_artifacts", disk_full)
        with pytest.raises(PromotionError, match="No space left"):
            tracker.record_search(found, follower, snapshot)
    assert tracker.newest_search() is None
    run_id = tracker.record_search(found, follower, snapshot)
    newest = tracker.newest_search()
    assert newest is not None
    assert newest.run_id == run_id
    assert newest.snapshot_path == snapshot.path


def test_version_loads_where_the_strategy_is_not_installed_and_in_plain_mlflow(
    tracking_uri: str,
    record: MemoryPromotionStore,
    run_id: str,
    snapshot: Snapshot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The registry's copy is enough, for penstock and for MLflow's own loader alike, and both
    decide the same.
    """
    version = MlflowRegistry(tracking_uri, record).register(run_id, "elsewhere")
    let_pass(record, version)
    monkeypatch.delitem(sys.modules, "penstock_test_follower")
    loaded = MlflowRegistry(tracking_uri, record).load("elsewhere", version.version)
    weights = loaded.strategy.decide(snapshot.bars())
    import mlflow

    with fluent(tracking_uri):
        served = mlflow.pyfunc.load_model(f"models:/elsewhere/{version.version}")
    frame = snapshot.bars().with_columns(pl.col("ts").dt.replace_time_zone(None)).to_pandas()
    assert np.array_equal(
        served.predict(frame)["weight"], weights["weight"].fill_null(np.nan), equal_nan=True
    )


def test_registered_model_shows_its_search_with_figures_and_parameters(
    tracking_uri: str, record: MemoryPromotionStore, run_id: str
) -> None:
    """MLflow's page of the model has the run that it came from and each of its figures, but for the
    series over trials. The run has the model as its output, and stays finished.
    """
    client = connect(tracking_uri)
    before = client.get_run(run_id)
    version = MlflowRegistry(tracking_uri, record).register(run_id, "shown")
    run = client.get_run(run_id)
    source = client.get_model_version("shown", version.version).source
    assert source is not None
    assert run.outputs is not None
    model = client.get_logged_model(source.removeprefix("models:/"))
    assert model.model_id in {output.model_id for output in run.outputs.model_outputs}
    assert (model.source_run_id, model.status.value) == (run_id, "READY")
    assert model.params == run.data.params
    figures = {metric.key: metric.value for metric in model.metrics or ()}
    assert figures["in_sample.sharpe"] == before.data.metrics["in_sample.sharpe"]
    assert figures.keys() == before.data.metrics.keys() - {"trial_value", "best_value"}
    assert (run.data.metrics, run.info.end_time) == (before.data.metrics, before.info.end_time)


@pytest.mark.parametrize("part", ["strategy.py", "manifest.json", "evidence.json"])
def test_version_that_was_changed_after_registration_is_not_run(
    part: str, tracking_uri: str, record: MemoryPromotionStore, run_id: str
) -> None:
    """Source, parameters or evidence edited in the artifact store: the hashes no longer agree and
    nothing of it is executed.
    """
    name = f"changed-{part.partition('.')[0]}"
    version = MlflowRegistry(tracking_uri, record).register(run_id, name)
    let_pass(record, version)
    file = _files_of(tracking_uri, version) / part
    text = file.read_text()
    changed = {
        "strategy.py": text + MALICE,
        "manifest.json": text.replace('"lag_bars": ', '"lag_bars": 1'),
        "evidence.json": text.replace('"trial_count": ', '"trial_count": 1'),
    }[part]
    assert changed != text
    file.write_text(changed)
    registry = MlflowRegistry(tracking_uri, record)
    for load in (registry.load, registry.load_candidate):
        with pytest.raises(PromotionError, match="changed after it was registered"):
            load(name, version.version)


def test_version_whose_hashes_were_all_changed_too_is_not_run(
    tracking_uri: str, record: MemoryPromotionStore, run_id: str
) -> None:
    """Whoever may write to MLflow can put in code of their own, with a manifest and tags that fit.
    The gate passed other content, and nothing of this is executed.
    """
    name = "forged"
    version = MlflowRegistry(tracking_uri, record).register(run_id, name)
    let_pass(record, version)
    forged = _forge(_files_of(tracking_uri, version))
    client = connect(tracking_uri)
    client.set_model_version_tag(name, version.version, "content_hash", forged.content_hash)
    client.set_model_version_tag(name, version.version, "source_sha256", forged.source_sha256)
    registry = MlflowRegistry(tracking_uri, record)
    with pytest.raises(PromotionError, match=r"the gate passed .* changed after it was promoted"):
        registry.load(name, version.version)
    with pytest.raises(PromotionError, match=r"forged/1 is not on record in this database"):
        registry.load_candidate(name, version.version)


def test_run_that_somebody_put_beside_the_searches_is_not_run(
    tracking_uri: str, record: MemoryPromotionStore, run_id: str, tmp_path: Path
) -> None:
    """A run in MLflow that says of itself that it is the newest search, with code of its maker: no
    search of this installation chose it. It is neither registered nor executed.
    """
    from mlflow.artifacts import download_artifacts

    client = connect(tracking_uri)
    folder = download_artifacts(
        artifact_uri=f"runs:/{run_id}/version", dst_path=str(tmp_path), tracking_uri=tracking_uri
    )
    honest = client.get_run(run_id)
    own = {key: value for key, value in honest.data.tags.items() if not key.startswith("mlflow.")}
    own["content_hash"] = _forge(Path(folder)).content_hash
    planted = client.create_run(honest.info.experiment_id, tags=own).info.run_id
    client.log_artifacts(planted, folder, "version")
    client.set_terminated(planted, "FINISHED")
    newest = MlflowTracker(tracking_uri, "test", record).newest_search()
    assert newest is not None
    assert newest.run_id == planted
    registry = MlflowRegistry(tracking_uri, record)
    with pytest.raises(PromotionError, match=f"run {planted} is not on record in this database"):
        registry.register(planted, "planted")
    assert registry.versions("planted") == []
    client.delete_run(planted)


def _forge(folder: Path) -> Manifest:
    """Put code of somebody else into a version's folder, and return the manifest that fits."""
    text = (folder / "strategy.py").read_text() + MALICE
    (folder / "strategy.py").write_text(text)
    honest = Manifest.model_validate_json((folder / "manifest.json").read_text())
    forged = honest.model_copy(update={"source_sha256": hashlib.sha256(text.encode()).hexdigest()})
    (folder / "manifest.json").write_text(forged.model_dump_json())
    assert read_version(folder, forged.content_hash).source.text == text, "all hashes must agree"
    return forged


def test_version_without_a_recorded_judgement_is_not_run(
    tracking_uri: str, record: MemoryPromotionStore, run_id: str
) -> None:
    """What the gate never saw does not load, wherever an alias points. What it rejected neither."""
    registry = MlflowRegistry(tracking_uri, record)
    version = registry.register(run_id, "unseen")
    registry.move_alias("unseen", "champion", version.version)
    with pytest.raises(PromotionError, match="unseen/1 is not on record as passed by the gate"):
        registry.load("unseen", "champion")
    let_pass(record, version, CandidateStatus.REJECTED)
    with pytest.raises(PromotionError, match="unseen/1 is not on record as passed by the gate"):
        registry.load("unseen", "champion")
    let_pass(record, version)
    assert registry.load("unseen", "champion").strategy.name == "follower"


@pytest.mark.parametrize("tag", ["source_sha256", "params"])
def test_version_whose_tags_are_not_those_of_its_content_is_not_judged(
    tracking_uri: str, record: MemoryPromotionStore, run_id: str, tag: str
) -> None:
    """A strategy that was rolled back is known by them: changed ones would let it pass again."""
    registry, name = MlflowRegistry(tracking_uri, record), f"retagged-{tag}"
    version = registry.register(run_id, name)
    connect(tracking_uri).set_model_version_tag(name, version.version, tag, "{}")
    with pytest.raises(PromotionError, match=f"the tag '{tag}' of {name}/1 is not that of its"):
        registry.load_candidate(name, version.version)


def let_pass(
    record: MemoryPromotionStore,
    version: ModelVersion,
    decision: CandidateStatus = CandidateStatus.CHAMPION,
) -> None:
    """Record a judgement on the version, by default that it is champion."""
    content, at = version.tags["content_hash"], datetime(2026, 1, 5, tzinfo=UTC)
    gate = GateDecision(decision, ())
    record.save_judgement(Judgement(version.name, version.version, content, gate, at, "ana"))


def _files_of(tracking_uri: str, version: ModelVersion) -> Path:
    """Return the folder in which MLflow keeps a version's own files."""
    client = connect(tracking_uri)
    root = client.get_model_version_download_uri(version.name, version.version)
    return Path(root.removeprefix("file://")) / "artifacts" / "version"


def test_run_that_is_no_search_cannot_be_registered(tracking_uri: str, run_id: str) -> None:
    """A child run, or anyone's run, is refused by name."""
    client = connect(tracking_uri)
    other = client.create_run(client.get_run(run_id).info.experiment_id).info.run_id
    with pytest.raises(PromotionError, match="not a recorded search"):
        MlflowRegistry(tracking_uri, MemoryPromotionStore()).register(other, "other")


def test_strategy_that_leans_on_another_strategy_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its neighbour would come from the worker's checkout, not from the version."""
    text = STRATEGY_FILE.replace(
        "import polars as pl\n", "import polars as pl\nimport strategies.momentum\n", 1
    )
    (tmp_path / "penstock_test_leaning.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    import penstock_test_leaning  # type: ignore[import-not-found]  # the test writes it

    with pytest.raises(PromotionError, match=r"imports 'strategies.momentum'"):
        source_of(penstock_test_leaning.FollowTheClose)


def test_passwords_are_taken_out_of_addresses() -> None:
    """What is printed names the host and never the credentials."""
    assert (
        without_password("postgresql://user:p4ss@db:5432/mlflow failed")
        == "postgresql://db:5432/mlflow failed"
    )


def test_database_without_a_place_for_artifacts_is_refused(tmp_path: Path) -> None:
    """MLflow would put them into the folder that the process happens to run in."""
    with pytest.raises(PromotionError, match="artifact_folder"):
        artifact_location("postgresql://db/mlflow", None)
    assert artifact_location("postgresql://db/mlflow", tmp_path) == tmp_path.as_uri()
    assert (
        artifact_location(f"sqlite:///{tmp_path}/mlflow.db", None)
        == (tmp_path / "mlartifacts").as_uri()
    )
    assert artifact_location("http://127.0.0.1:5000", None) is None
