"""The record of searches: one MLflow run per search, with its trials as a table and a series.

A nested run costs 30 to 160 ms, and a step of a series 1 to 3 ms. So only the best candidates have
runs of their own. Nothing of the bars out of sample is on a run: the gate opens them.
"""

import hashlib
import inspect
import json
import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from penstock.adapters.mlflow.connection import SERIES, artifact_location, connect, explained
from penstock.adapters.mlflow.content import manifest_of, read_version, source_of, write_version
from penstock.adapters.mlflow.provenance import CodeState, code_state
from penstock.core.clock import MachineClock
from penstock.core.errors import PromotionError
from penstock.core.machine import SYSTEM_CLOCK
from penstock.core.strategy import Strategy
from penstock.monitoring.reports import Section, write_html
from penstock.promotion.evidence import Evidence, gather_evidence
from penstock.promotion.records import PromotionStore, RecordedSearch, SearchedSnapshot
from penstock.research.engine.results import SearchResult

if TYPE_CHECKING:
    from mlflow.entities import Metric

#: At most so many candidates have runs of their own.
MAX_CHILD_RUNS = 10
#: MLflow takes at most 1000 metrics, 100 parameters and 100 tags in one batch.
_BATCH = 900


class MlflowTracker:
    """The searches of one experiment, in an MLflow server or database.

    `record` keeps the hash of what each search chose, where who may write to MLflow cannot change
    it: the gate runs nothing else. `artifact_folder` is where a database without a server keeps
    artifacts; by default that is `mlartifacts` beside a SQLite file. A server decides it itself.
    """

    def __init__(
        self,
        tracking_uri: str,
        experiment: str,
        record: PromotionStore,
        artifact_folder: Path | None = None,
        *,
        clock: MachineClock = SYSTEM_CLOCK,
    ) -> None:
        self.tracking_uri = tracking_uri
        self.experiment = experiment
        self._record = record
        self._clock = clock
        self._client = connect(tracking_uri)
        with explained(tracking_uri, f"open the experiment '{experiment}'"):
            self.experiment_id = self._open_experiment(artifact_folder)

    def record_search(
        self,
        search: SearchResult,
        strategy_class: type[Strategy],
        snapshot: SearchedSnapshot,
        evidence: Evidence | None = None,
    ) -> str:
        """Record a search and return its run id.

        Evidence that is not given is gathered on the snapshot. The same search with the same source
        is recorded once: a repeat returns the run that exists. A recording that fails leaves a
        FAILED run.
        """
        source = source_of(strategy_class)
        bars = snapshot.bars()
        evidence = gather_evidence(search, strategy_class, bars) if evidence is None else evidence
        manifest = manifest_of(source, evidence)
        self._record.save_choice(manifest.content_hash, search.id, self._clock.now())
        existing = self._find(
            f"tags.`content_hash` = '{manifest.content_hash}' and attributes.status = 'FINISHED'"
        )
        if existing is not None:
            return existing
        code = code_state(Path(_file_of(strategy_class)).parent)
        with (
            explained(self.tracking_uri, "record the search"),
            tempfile.TemporaryDirectory() as scratch,
        ):
            folder = Path(scratch)
            write_version(folder / "version", manifest, source, evidence)
            self._write_artifacts(folder, search, code)
            run_id = self._start(f"{search.strategy} {search.id[:8]}", None)
            try:
                self._log(
                    run_id,
                    _params(search),
                    _metrics(search),
                    _tags(search, snapshot, manifest.content_hash, code),
                )
                self._log_series(run_id, search)
                self._log_dataset(run_id, search, bars, snapshot.path)
                self._client.log_artifacts(run_id, str(folder))
                self._log_children(run_id, search)
            except BaseException:
                self._client.set_terminated(run_id, "FAILED")
                raise
            self._client.set_terminated(run_id, "FINISHED")
        return run_id

    def newest_search(self) -> RecordedSearch | None:
        """Return the newest search that was recorded completely, or None."""
        with explained(self.tracking_uri, "find the newest search"):
            run_id = self._find(
                "tags.`penstock.kind` = 'search' and attributes.status = 'FINISHED'"
            )
        return None if run_id is None else self.read_search(run_id)

    def read_search(self, run_id: str) -> RecordedSearch:
        """Return the recorded search of a run; raise PromotionError where the run has none."""
        from mlflow.artifacts import download_artifacts

        with (
            explained(self.tracking_uri, f"read run {run_id}"),
            tempfile.TemporaryDirectory() as scratch,
        ):
            run = self._client.get_run(run_id)
            if run.data.tags.get("penstock.kind") != "search":
                raise PromotionError(f"run {run_id} is not a recorded search")
            here = download_artifacts(
                artifact_uri=f"runs:/{run_id}/version",
                dst_path=scratch,
                tracking_uri=self.tracking_uri,
            )
            evidence = read_version(Path(here)).evidence
        at = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
        return RecordedSearch(
            run_id, evidence.search_id, at, evidence, Path(run.data.tags["snapshot_path"])
        )

    def _open_experiment(self, artifact_folder: Path | None) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        location = artifact_location(self.tracking_uri, artifact_folder)
        try:
            return str(self._client.create_experiment(self.experiment, artifact_location=location))
        except MlflowException:  # another process was faster
            found = self._client.get_experiment_by_name(self.experiment)
            if found is None:
                raise
            return str(found.experiment_id)

    def _find(self, condition: str) -> str | None:
        runs = self._client.search_runs(
            [self.experiment_id], condition, order_by=["attributes.start_time DESC"], max_results=1
        )
        return str(runs[0].info.run_id) if runs else None

    def _start(self, name: str, parent: str | None) -> str:
        tags = {} if parent is None else {"mlflow.parentRunId": parent}
        return str(
            self._client.create_run(self.experiment_id, run_name=name, tags=tags).info.run_id
        )

    def _log(
        self,
        run_id: str,
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        now = int(self._clock.now().timestamp() * 1000)
        logged_params = [Param(name, str(value)[:6000]) for name, value in params.items()]
        logged_tags = [RunTag(name, value[:5000]) for name, value in tags.items()]
        logged_metrics = [Metric(name, value, now, 0) for name, value in metrics.items()]
        self._client.log_batch(
            run_id, metrics=logged_metrics, params=logged_params, tags=logged_tags
        )

    def _log_series(self, run_id: str, search: SearchResult) -> None:
        """Log each trial's value, and the best so far, as series over the trial's number."""
        from mlflow.entities import Metric

        now = int(self._clock.now().timestamp() * 1000)
        done = (
            search.trials.filter(pl.col("value").is_finite())
            .sort("number")
            .with_columns(best=search.best_so_far(pl.col("value")))
            .select("number", "value", "best")
        )
        points: Iterable[Metric] = (
            Metric(name, float(value), now, int(number))
            for number, *values in done.iter_rows()
            for name, value in zip(SERIES, values, strict=True)
        )
        for batch in _batches(points, _BATCH):
            self._client.log_batch(run_id, metrics=batch)

    def _log_dataset(
        self, run_id: str, search: SearchResult, bars: pl.DataFrame, path: Path
    ) -> None:
        from mlflow.data.polars_dataset import from_polars
        from mlflow.entities import DatasetInput, InputTag

        from penstock.adapters.mlflow.dataset import SnapshotSource

        source = SnapshotSource(str(path), search.dataset_hash)
        name = f"{len(search.symbols)} symbols {search.timeframe}"
        dataset = from_polars(bars, source=source, name=name, digest=search.dataset_hash[:16])
        tags = [InputTag("mlflow.data.context", "search")]
        self._client.log_inputs(run_id, [DatasetInput(dataset._to_mlflow_entity(), tags)])

    def _log_children(self, parent: str, search: SearchResult) -> None:
        for rank, candidate in enumerate(search.candidates[:MAX_CHILD_RUNS], start=1):
            run_id = self._start(f"candidate {rank}: trial {candidate.number}", parent)
            params = {"strategy": candidate.strategy, **candidate.params}
            self._log(
                run_id,
                params,
                {search.objective.replace(":", "."): candidate.value},
                {"penstock.kind": "candidate"},
            )
            self._client.set_terminated(run_id, "FINISHED")

    def _write_artifacts(self, folder: Path, search: SearchResult, code: CodeState) -> None:
        from penstock.adapters.mlflow.plots import save_plots
        from penstock.research import plots

        search.trials.write_parquet(folder / "trials.parquet")
        save_plots(search, folder / "plots")
        sections = [
            Section("Trials", figure=plots.trials_figure(search)),
            Section(
                "In sample",
                figure=plots.equity_figure(search.in_sample, search.benchmark_in_sample),
            ),
            Section("Parameters", figure=plots.parameters_figure(search)),
            Section("Target weights in sample", figure=plots.weights_figure(search.in_sample)),
        ]
        write_html(
            f"Search {search.id}", sections, self._clock.now(), folder / "plots" / "report.html"
        )
        if code.diff:
            (folder / "uncommitted.diff").write_text(code.diff, encoding="utf-8")


def _params(search: SearchResult) -> dict[str, object]:
    settings = search.settings.model_dump(mode="json")
    costs = search.costs.model_dump(exclude={"instruments"})
    return {
        "strategy": search.strategy,
        "timeframe": search.timeframe.value,
        "symbols": " ".join(search.symbols),
        "dataset_hash": search.dataset_hash,
        "in_sample_end": search.in_sample_end.isoformat(),
        "out_of_sample_start": search.out_of_sample_start.isoformat(),
        **{f"search.{name}": value for name, value in settings.items()},
        **{f"costs.{name}": value for name, value in costs.items()},
        # Their rules are in the evidence: a parameter has no room for twenty.
        "costs.instruments": len(search.costs.instruments),
        **{f"best.{name}": value for name, value in search.best_params.items()},
    }


def _metrics(search: SearchResult) -> dict[str, float]:
    parts = {
        "in_sample": search.in_sample,
        "benchmark_in_sample": search.benchmark_in_sample,
    }
    figures = {
        f"{part}.{name}": value
        for part, result in parts.items()
        for name, value in result.metrics.as_dict().items()
    }
    own = {
        "best_trial_value": search.best_value,
        "deflated_sharpe": search.deflated_sharpe,
        "trials": float(search.trial_count),
        **(
            {}
            if search.looks is None
            else {
                "looks": float(search.looks.on_these_bars),
                "new_looks": float(search.looks.new),
            }
        ),
    }
    return {**own, **figures}


def _tags(
    search: SearchResult, snapshot: SearchedSnapshot, content_hash: str, code: CodeState
) -> dict[str, str]:
    return {
        "penstock.kind": "search",
        "search_id": search.id,
        "content_hash": content_hash,
        "dataset_hash": search.dataset_hash,
        "snapshot_path": str(snapshot.path.resolve()),
        "exchange": snapshot.exchange,
        "study": search.study_name,
        "best_params": json.dumps(dict(search.best_params)),
        "mlflow.source.git.commit": code.commit,
        "git_diff_sha256": hashlib.sha256(code.diff.encode()).hexdigest() if code.diff else "",
    }


def _batches(items: Iterable["Metric"], size: int) -> Iterable[list["Metric"]]:
    batch: list[Metric] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _file_of(strategy_class: type[Strategy]) -> str:
    return inspect.getsourcefile(strategy_class) or "."
