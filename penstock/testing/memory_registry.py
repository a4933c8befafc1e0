"""A register of strategy versions in memory, for tests and notebooks."""

import hashlib
import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from penstock.core.errors import NoVersionError, PromotionError
from penstock.core.strategy import Strategy
from penstock.ports import LoadedModel, ModelVersion
from penstock.promotion.evidence import Evidence, OpenedEvidence
from penstock.promotion.gate import GateDecision
from penstock.promotion.records import PromotionStore


@dataclass
class MemoryRegistry:
    """CandidateRegistry in memory, with what `record` has of the gate's judgements.

    tests/contracts/test_registry.py holds it to the port, together with MLflow. `record_run` stands
    for the tracked search from which a version is registered.
    """

    record: PromotionStore
    runs: dict[str, tuple[type[Strategy], Evidence, str]] = field(default_factory=dict)
    """Strategy class, evidence and venue of the bars, by run."""
    made: dict[str, list[ModelVersion]] = field(default_factory=dict)
    """The versions of each model, oldest first."""
    aliases: dict[str, dict[str, str]] = field(default_factory=dict)
    """The version number by alias, of each model."""

    def record_run(
        self, strategy_class: type[Strategy], evidence: Evidence, exchange: str = "memory"
    ) -> str:
        """Keep a search's choice and return its run id; a repeat returns the run that exists."""
        run_id = _hash(_source_hash(strategy_class), evidence.model_dump_json(), exchange)[:32]
        self.runs[run_id] = strategy_class, evidence, exchange
        self.record.save_choice(run_id, evidence.search_id, evidence.out_of_sample_end)
        return run_id

    def register(self, run_id: str, name: str) -> ModelVersion:
        """Make the choice of a run a version of model `name`, once, and return it."""
        if run_id not in self.runs:
            raise PromotionError(f"run {run_id} is not a recorded search")
        self._require_choice(run_id, f"the search in run {run_id}")
        strategy_class, evidence, exchange = self.runs[run_id]
        made = self.made.setdefault(name, [])
        tags = {
            "content_hash": run_id,
            "source_sha256": _source_hash(strategy_class),
            "params": json.dumps(evidence.params, sort_keys=True),
            "exchange": exchange,
        }
        if all(version.run_id != run_id for version in made):
            made.append(ModelVersion(name, str(len(made) + 1), run_id, (), tags))
        return next(each for each in self.versions(name) if each.run_id == run_id)

    def versions(self, name: str) -> Sequence[ModelVersion]:
        aliases = self.aliases.get(name, {})
        return [
            replace(
                version,
                aliases=tuple(
                    sorted(alias for alias, to in aliases.items() if to == version.version)
                ),
            )
            for version in reversed(self.made.get(name, []))
        ]

    def find(self, name: str, alias_or_version: str) -> ModelVersion | None:
        number = self.aliases.get(name, {}).get(alias_or_version, alias_or_version)
        return next((each for each in self.versions(name) if each.version == number), None)

    def move_alias(self, name: str, alias: str, version: str) -> None:
        if self.find(name, version) is None:
            raise PromotionError(f"'{name}' has no version {version}")
        self.aliases.setdefault(name, {})[alias] = version

    def show_decision(
        self, version: ModelVersion, gate: GateDecision, opened: OpenedEvidence | None = None
    ) -> None:
        self.made[version.name] = [
            replace(each, tags={**each.tags, "gate": gate.status})
            if each.version == version.version
            else each
            for each in self.made[version.name]
        ]

    def load(self, name: str, alias_or_version: str) -> LoadedModel:
        version = self._existing(name, alias_or_version)
        passed = self.record.passed_hashes(name, version.version)
        if version.tags["content_hash"] not in passed:
            raise PromotionError(
                f"{version.label} is not on record as passed by the gate and will not be run"
            )
        return self.load_candidate(name, version.version)

    def load_candidate(self, name: str, version: str) -> LoadedModel:
        found = self._existing(name, version)
        self._require_choice(found.tags["content_hash"], found.label)
        strategy_class, evidence, _ = self.runs[found.run_id]
        return LoadedModel(found, strategy_class.from_params(dict(evidence.params)))

    def evidence(self, name: str, alias_or_version: str) -> Evidence:
        return self.runs[self._existing(name, alias_or_version).run_id][1]

    def _require_choice(self, content_hash: str, what: str) -> None:
        if not self.record.is_choice(content_hash):
            raise PromotionError(f"{what} is not on record in this database and will not be run")

    def _existing(self, name: str, alias_or_version: str) -> ModelVersion:
        found = self.find(name, alias_or_version)
        if found is None:
            raise NoVersionError(name, alias_or_version)
        return found


def _source_hash(strategy_class: type[Strategy]) -> str:
    return _hash(inspect.getsource(strategy_class))


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
