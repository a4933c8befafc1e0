"""The model registry: strategy versions made of their own code, under aliases.

It keeps the promises of ports.Registry. penstock.promotion decides which version gets which alias.
"""

import json
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.adapters.mlflow.connection import SERIES, connect, explained, fluent, is_absent
from penstock.adapters.mlflow.content import Manifest, VersionContent, read_version
from penstock.core.errors import NoVersionError, PromotionError
from penstock.core.extras import extra
from penstock.core.strategy import Strategy
from penstock.ports import LoadedModel, ModelVersion
from penstock.promotion.evidence import Evidence, OpenedEvidence
from penstock.promotion.gate import GateDecision
from penstock.promotion.records import PromotionStore

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion
    from mlflow.models import ModelSignature

_VERSION_FOLDER = "artifacts/version"
#: MLflow's database takes no longer tag of a version (characters).
_LONGEST_TAG = 5000
#: The tags by which a strategy that was rolled back is known again (penstock.promotion.rollback).
_DECIDES_WITH = ("source_sha256", "params")


class MlflowRegistry:
    """Versions in an MLflow server or database, and what `record` has of searches and judgements.

    Whoever may write to MLflow can move its aliases, change its files and add runs. So what the
    gate loads must be recorded as chosen by a search, and what is loaded to trade as passed, each
    with its hash. This object downloads the content of a version once.
    """

    def __init__(self, tracking_uri: str, record: PromotionStore) -> None:
        self.tracking_uri = tracking_uri
        self._record = record
        self._client = connect(tracking_uri)
        #: Content hash and strategy, by model and version.
        self._loaded: dict[tuple[str, str], tuple[str, Strategy]] = {}

    def find(self, name: str, alias_or_version: str) -> ModelVersion | None:
        """Return the version under this alias or number, or None."""
        if alias_or_version.isdigit():
            return self._version(name, alias_or_version)
        number = (self._aliases(name) or {}).get(alias_or_version)
        return None if number is None else self._version(name, number)

    def versions(self, name: str) -> Sequence[ModelVersion]:
        """Return all versions of a model, newest first."""
        aliases = self._aliases(name)
        if aliases is None:
            return []
        with explained(self.tracking_uri, f"list the versions of '{name}'"):
            found = self._client.search_model_versions(
                f"name = '{_quoted(name)}'", max_results=10_000
            )
        return [
            # search_model_versions leaves aliases empty; the registered model always has them.
            _as_version(v, [alias for alias, number in aliases.items() if number == str(v.version)])
            for v in sorted(found, key=lambda v: int(v.version), reverse=True)
        ]

    def move_alias(self, name: str, alias: str, version: str) -> None:
        """Point the alias at the version; raise PromotionError where there is no such version."""
        if self.find(name, version) is None:
            raise PromotionError(
                f"'{name}' has no version {version}: "
                f"it has {[v.version for v in self.versions(name)]}"
            )
        with explained(self.tracking_uri, f"move the alias '{alias}' of '{name}'"):
            self._client.set_registered_model_alias(name, alias, version)

    def show_decision(
        self, version: ModelVersion, gate: GateDecision, opened: OpenedEvidence | None = None
    ) -> None:
        """Show the gate's newest decision in the tags "gate" and "gate_reason".

        What the bars out of sample show is in the tags "out_of_sample_sharpe" and
        "out_of_sample_return".
        """
        tags = {"gate": gate.status, "gate_reason": gate.reason[:_LONGEST_TAG]}
        if opened is not None:
            tags["out_of_sample_sharpe"] = f"{opened.out_of_sample.sharpe:.4f}"
            tags["out_of_sample_return"] = f"{opened.out_of_sample.total_return:.4f}"
        with explained(self.tracking_uri, f"show the gate's decision on {version.label}"):
            for tag, value in tags.items():
                self._client.set_model_version_tag(version.name, version.version, tag, value)

    def load(self, name: str, alias_or_version: str) -> LoadedModel:
        """Return the strategy of a version, built from the registry's copy of its source.

        Its hash must be one with which the gate let the version pass. It is checked before any of
        the code runs.
        """
        version = self._existing(name, alias_or_version)
        passed = self._record.passed_hashes(name, version.version)
        if not passed:
            raise PromotionError(
                f"{version.label} is not on record as passed by the gate and will not be run: "
                "promote it, or point the alias at a version that passed"
            )
        key = name, version.version
        if key not in self._loaded or self._loaded[key][0] not in passed:
            content = self._content(version)
            found = content.manifest.content_hash
            if found not in passed:
                raise PromotionError(
                    f"the content of {version.label} has hash {found[:12]} and the gate passed "
                    f"{' and '.join(sorted(each[:12] for each in passed))}: it was changed after "
                    "it was promoted and will not be run"
                )
            self._loaded[key] = found, content.strategy()
        return LoadedModel(version, self._loaded[key][1])

    def load_candidate(self, name: str, version: str) -> LoadedModel:
        """Return the strategy of a version that the gate is about to judge.

        A search must have chosen this content, by its hash. The tags by which a strategy that was
        rolled back is known must be its own. Both are checked before the code runs.
        """
        found = self._existing(name, version)
        content = self._content(found)
        self._require_choice(content, found.label)
        own = _tags(content, {})
        for tag in _DECIDES_WITH:
            if found.tags.get(tag) != own[tag]:
                raise PromotionError(
                    f"the tag '{tag}' of {found.label} is not that of its content: it was changed, "
                    "and would hide that the strategy was rolled back"
                )
        return LoadedModel(found, content.strategy())

    def evidence(self, name: str, alias_or_version: str) -> Evidence:
        """Return the evidence that was registered with a version.

        Raises PromotionError where there is none.
        """
        return self._content(self._existing(name, alias_or_version)).evidence

    def register(self, run_id: str, name: str) -> ModelVersion:
        """Make the choice of a recorded search a version of model `name`, and return it.

        Source, parameters and evidence come from the run: what is registered is what was searched.
        The same content is registered once: a repeat returns the version that exists.
        """
        with tempfile.TemporaryDirectory() as scratch:
            folder, run_tags = self._from_run(run_id, Path(scratch))
            content = read_version(folder)
            self._require_choice(content, f"the search in run {run_id}")
            content.strategy()  # what cannot be loaded is not registered
            for existing in self.versions(name):
                if existing.tags.get("content_hash") == content.manifest.content_hash:
                    return existing
            with explained(self.tracking_uri, f"register '{name}'"):
                number = self._create(
                    run_id, name, folder, content.manifest, _tags(content, run_tags)
                )
        return self._existing(name, number)

    def _require_choice(self, content: VersionContent, what: str) -> None:
        """Raise PromotionError where no search is on record as having chosen the content."""
        found = content.manifest.content_hash
        if not self._record.is_choice(found):
            raise PromotionError(
                f"{what} is not on record in this database (content {found[:12]}) and will not be "
                "run: it was recorded elsewhere, before searches were on record, or changed "
                "afterwards; search again"
            )

    def _create(
        self, run_id: str, name: str, folder: Path, manifest: Manifest, tags: dict[str, str]
    ) -> str:
        from mlflow.exceptions import MlflowException

        # MLflow's database store looks a logged model up through its module-level client.
        with fluent(self.tracking_uri):
            model_id, model_uri = _log_model(self._client, run_id, manifest, folder)
            try:
                self._client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            made = self._client.create_model_version(
                name, model_uri, run_id=run_id, tags=tags, model_id=model_id
            )
        return str(made.version)

    def _from_run(self, run_id: str, scratch: Path) -> tuple[Path, dict[str, str]]:
        """Return the folder of the version that a search run recorded, and the run's tags."""
        from mlflow.artifacts import download_artifacts

        with explained(self.tracking_uri, f"read the search in run {run_id}"):
            tags: dict[str, str] = self._client.get_run(run_id).data.tags
            if tags.get("penstock.kind") != "search":
                raise PromotionError(
                    f"run {run_id} is not a recorded search: only those can be registered"
                )
            uri = f"runs:/{run_id}/version"
            here = download_artifacts(
                artifact_uri=uri, dst_path=str(scratch), tracking_uri=self.tracking_uri
            )
        return Path(here), tags

    def _content(self, version: ModelVersion) -> VersionContent:
        from mlflow.artifacts import download_artifacts

        with tempfile.TemporaryDirectory() as scratch:
            with explained(self.tracking_uri, f"download {version.label}"):
                # Not "models:/...": MLflow's module-level client would resolve that.
                root = self._client.get_model_version_download_uri(version.name, version.version)
                uri = f"{root.rstrip('/')}/{_VERSION_FOLDER}"
                here = download_artifacts(
                    artifact_uri=uri, dst_path=scratch, tracking_uri=self.tracking_uri
                )
            if "content_hash" not in version.tags:
                raise PromotionError(
                    f"{version.label} has no tag 'content_hash': it was not registered by penstock"
                )
            return read_version(Path(here), version.tags["content_hash"])

    def _existing(self, name: str, alias_or_version: str) -> ModelVersion:
        found = self.find(name, alias_or_version)
        if found is None:
            raise NoVersionError(name, alias_or_version)
        return found

    def _aliases(self, name: str) -> dict[str, str] | None:
        """Return the version number by alias, or None where there is no such model."""
        from mlflow.exceptions import MlflowException

        with explained(self.tracking_uri, f"find the model '{name}'"):
            try:
                model = self._client.get_registered_model(name)
            except MlflowException as error:
                if is_absent(error):
                    return None
                raise
        return {alias: str(number) for alias, number in model.aliases.items()}

    def _version(self, name: str, number: str) -> ModelVersion | None:
        from mlflow.exceptions import MlflowException

        with explained(self.tracking_uri, f"find version {number} of '{name}'"):
            try:
                found = self._client.get_model_version(name, number)
            except MlflowException as error:
                if is_absent(error):
                    return None
                raise
        return _as_version(found, found.aliases)


def _as_version(found: "MlflowVersion", aliases: Iterable[str]) -> ModelVersion:
    own, tags = tuple(sorted(aliases)), dict(found.tags)
    return ModelVersion(found.name, str(found.version), found.run_id or "", own, tags)


def _tags(content: VersionContent, run_tags: dict[str, str]) -> dict[str, str]:
    manifest, evidence = content.manifest, content.evidence
    return {
        "content_hash": manifest.content_hash,
        "strategy": manifest.strategy,
        "params": json.dumps(manifest.params)[:500],
        "source_sha256": manifest.source_sha256,
        "dataset_hash": manifest.dataset_hash,
        "search_id": manifest.search_id,
        "environment_hash": manifest.environment_hash,
        "git_commit": run_tags.get("mlflow.source.git.commit", ""),
        "exchange": run_tags.get("exchange", ""),
        "timeframe": evidence.timeframe.value,
        "trial_count": str(evidence.trial_count),
        "in_sample_sharpe": f"{evidence.in_sample.sharpe:.4f}",
    }


def _log_model(
    client: "MlflowClient", run_id: str, manifest: Manifest, folder: Path
) -> tuple[str, str]:
    """Log the version as an MLflow model of the run, with the run's parameters and figures.

    Return its id and URI.
    """
    with extra("research"):
        import mlflow.pyfunc
    from mlflow.entities import LoggedModelOutput, Metric

    run = client.get_run(run_id)
    model = client.create_logged_model(
        run.info.experiment_id,
        name=manifest.strategy.replace("_", "-"),
        source_run_id=run_id,
        params=run.data.params,
    )
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    # In one request. For a model of an active run MLflow asks for each figure's history.
    figures = [
        Metric(name, value, run.info.end_time, 0, model_id=model.model_id, run_id=run_id)
        for name, value in run.data.metrics.items()
        if name not in SERIES
    ]
    client.log_batch(run_id, metrics=figures)
    with warnings.catch_warnings():
        # Advice on type hints and examples, which a signature does not need.
        warnings.simplefilter("ignore", UserWarning)
        logged = mlflow.pyfunc.log_model(
            model_id=model.model_id,
            python_model=str(Path(__file__).with_name("model.py")),
            artifacts={"version": str(folder)},
            model_config={"content_hash": manifest.content_hash, "params": dict(manifest.params)},
            signature=_signature(),
            # To infer them MLflow would start a process that imports everything.
            pip_requirements=["penstock", "polars", "pydantic"],
        )
    return model.model_id, logged.model_uri


def _signature() -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    keys = [ColSpec(DataType.string, "symbol"), ColSpec(DataType.datetime, "ts")]
    values = [ColSpec(DataType.double, name) for name in ("open", "high", "low", "close", "volume")]
    return ModelSignature(
        inputs=Schema([*keys, *values]), outputs=Schema([*keys, ColSpec(DataType.double, "weight")])
    )


def _quoted(name: str) -> str:
    if "'" in name or "\\" in name:
        raise PromotionError(
            f"model name {name!r} is not allowed: use letters, digits, dots, dashes and underscores"
        )
    return name
