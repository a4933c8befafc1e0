"""What Penstock needs of the register of strategy versions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from penstock.core.strategy import Strategy


@dataclass(frozen=True)
class ModelVersion:
    """A registered strategy version."""

    name: str
    """The model's name."""
    version: str
    """The version's number, as text."""
    run_id: str
    """The tracked run that made it."""
    aliases: Sequence[str]
    """The aliases that point at it now."""
    tags: Mapping[str, str]
    """What was kept with it: hash of the data, search, commit, metrics."""

    @property
    def label(self) -> str:
        """Name and version: "trend/3"."""
        return f"{self.name}/{self.version}"


@dataclass(frozen=True)
class LoadedModel:
    """A strategy that was built from a registered version's own code and parameters."""

    version: ModelVersion
    """The version that was loaded."""
    strategy: Strategy
    """The strategy, ready to decide."""


class Registry(Protocol):
    """Registered strategy versions and their aliases (champion, challenger, previous)."""

    def find(self, name: str, alias_or_version: str) -> ModelVersion | None:
        """Return the version under this alias or number, or None."""
        ...

    def versions(self, name: str) -> Sequence[ModelVersion]:
        """Return all versions of a model, the newest first."""
        ...

    def move_alias(self, name: str, alias: str, version: str) -> None:
        """Point the alias at the version."""
        ...

    def load(self, name: str, alias_or_version: str) -> LoadedModel:
        """Return the strategy of the version under this alias or number.

        Raises PromotionError where there is none, or where it cannot be loaded. It is raised too,
        before any of its code runs, where the gate has not let this very content pass.
        """
        ...
