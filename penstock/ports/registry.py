"""What Penstock needs of the register of strategy versions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from penstock.core.strategy import Strategy


@dataclass(frozen=True)
class ModelVersion:
    """A registered, content-addressed strategy version. `tags` carry dataset hash, search id,
    commit and metrics.
    """

    name: str
    version: str
    run_id: str
    aliases: Sequence[str]
    tags: Mapping[str, str]

    @property
    def label(self) -> str:
        return f"{self.name}/{self.version}"


@dataclass(frozen=True)
class LoadedModel:
    """A strategy built from a registered version's own code and parameters, not from this checkout."""

    version: ModelVersion
    strategy: Strategy


class Registry(Protocol):
    """Registered strategy versions and their aliases (champion, challenger, previous)."""

    def find(self, name: str, alias_or_version: str) -> ModelVersion | None:
        """Return the version under this alias or number, or None."""
        ...

    def versions(self, name: str) -> Sequence[ModelVersion]:
        """Return all versions of a model, newest first."""
        ...

    def move_alias(self, name: str, alias: str, version: str) -> None:
        """Point the alias at the version."""
        ...

    def load(self, name: str, alias_or_version: str) -> LoadedModel:
        """Return the strategy of a version; PromotionError where there is none or it cannot be
        loaded.
        """
        ...
