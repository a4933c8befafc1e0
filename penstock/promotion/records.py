"""The ports of promotion: recorded searches, registered versions with their evidence, judgements.

They are not in penstock.ports, because their signatures need Evidence.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import polars as pl

from penstock.core.strategy import Strategy
from penstock.ports import LoadedModel, ModelVersion, Registry
from penstock.promotion.evidence import Evidence, OpenedEvidence
from penstock.promotion.gate import GateDecision
from penstock.research.engine.results import SearchResult


@dataclass(frozen=True)
class RecordedSearch:
    """A search as the tracker keeps it."""

    run_id: str
    """The id of its run."""
    search_id: str
    """The search's own id."""
    at: datetime
    """When the recording began."""
    evidence: Evidence
    """The evidence for its choice."""
    snapshot_path: Path
    """Where its snapshot was when it was recorded."""


class SearchedSnapshot(Protocol):
    """The bars that were searched, kept as a file (penstock.data.snapshots.Snapshot is one)."""

    @property
    def exchange(self) -> str:
        """The venue of the bars."""
        ...

    @property
    def path(self) -> Path:
        """The file."""
        ...

    def bars(self) -> pl.DataFrame:
        """Return the bars (BARS_SCHEMA). Raises DataError where the file was changed."""
        ...


class SearchTracker(Protocol):
    """The record of one experiment's searches. Raises PromotionError where it cannot be reached."""

    def record_search(
        self,
        search: SearchResult,
        strategy_class: type[Strategy],
        snapshot: SearchedSnapshot,
        evidence: Evidence | None = None,
    ) -> str:
        """Record a search and return its run id.

        Evidence that is not given is gathered on the snapshot. The same search with the same source
        is recorded once: a repeat returns the run that exists.
        """
        ...

    def newest_search(self) -> RecordedSearch | None:
        """Return the newest search that was recorded completely, or None."""
        ...

    def read_search(self, run_id: str) -> RecordedSearch:
        """Return the search of a run. Raises PromotionError where the run is no recorded search."""
        ...


class CandidateRegistry(Registry, Protocol):
    """A registry that takes new versions with their evidence.

    Raises PromotionError where it cannot be reached.
    """

    def register(self, run_id: str, name: str) -> ModelVersion:
        """Make the choice of a recorded search a version of model `name`, and return it.

        The same content is registered once: a repeat returns the version that exists. Raises
        PromotionError where the run is not a recorded search, or its strategy cannot be loaded, or,
        before any of its code runs, where no search is on record as having chosen this content.
        """
        ...

    def evidence(self, name: str, alias_or_version: str) -> Evidence:
        """Return the evidence that was registered with a version.

        Raises PromotionError where there is no such version.
        """
        ...

    def show_decision(
        self, version: ModelVersion, gate: GateDecision, opened: OpenedEvidence | None = None
    ) -> None:
        """Show the gate's newest decision with the version: its status in the tag "gate".

        It is for people. What may be loaded is in the PromotionStore. `opened` has the figures out
        of sample; None where these bars stayed closed.
        """
        ...

    def load_candidate(self, name: str, version: str) -> LoadedModel:
        """Return the strategy of a version that the gate has not judged yet.

        Only the gate calls it: the version's code runs. The tag "content_hash" of the returned
        version is the hash of the content that was loaded. Raises PromotionError where there is no
        such version, or where it cannot be loaded. It is raised too, before any of its code runs,
        where no search is on record as having chosen this content.
        """
        ...


@dataclass(frozen=True)
class Judgement:
    """What the gate decided about the content of one version."""

    model: str
    """The model's name."""
    version: str
    """The version's number, as text."""
    content_hash: str
    """The hash of the content that was judged: source, parameters and evidence."""
    gate: GateDecision
    """The decision, with every verdict."""
    at: datetime
    """When it was made."""
    by: str
    """Who asked for it."""


class PromotionStore(Protocol):
    """The permanent record of what was searched and judged.

    The gate runs the code of what a search chose, and the account trades what the gate let pass.
    Raises StoreError where the record cannot be kept or read.
    """

    def save_choice(self, content_hash: str, search_id: str, at: datetime) -> None:
        """Keep the hash of what a search chose: source, parameters and evidence. Once is enough."""
        ...

    def is_choice(self, content_hash: str) -> bool:
        """Return whether a search chose this content."""
        ...

    def save_judgement(self, judgement: Judgement) -> None:
        """Append a judgement with its verdicts: all of it or nothing."""
        ...

    def passed_hashes(self, model: str, version: str) -> frozenset[str]:
        """Return the content hashes with which the gate has let a version pass.

        A challenger has passed, and a champion. It is empty where the version was never judged, or
        always rejected.
        """
        ...
