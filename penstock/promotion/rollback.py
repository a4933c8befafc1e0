"""Rollback: the champion before is made champion again, and what was taken out is remembered.

It is remembered by what it decides with: source and parameters. The same parameters found again by
a later search are another version, and are refused all the same.
"""

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from penstock.core.errors import PromotionError
from penstock.ports import ModelVersion, Registry
from penstock.promotion.criteria import CriterionResult

CHAMPION, PREVIOUS, ROLLED_BACK = "champion", "previous", "rolled_back"


class RollbackRecord(Protocol):
    """The permanent record of rollbacks, and the lock under which aliases are moved.

    Raises StoreError where it cannot be reached.
    """

    def alias_lock(self, model: str) -> AbstractContextManager[None]:
        """Hold the one lock of a model's aliases, over all processes.

        Raises StoreError where another process holds it for long.
        """
        ...

    def remember(self, model: str, version: str, strategy_hash: str, at: datetime, by: str) -> None:
        """Keep that `by` took the version with this hash out at `at`."""
        ...

    def rolled_back(self, model: str) -> Mapping[str, str]:
        """Return the version that was taken out, by strategy hash."""
        ...


def strategy_hash(version: ModelVersion) -> str:
    """Return the hash of what a version decides with: source and parameters, no evidence.

    >>> tags = {"source_sha256": "ab", "params": "{}"}
    >>> strategy_hash(ModelVersion("trend", "1", "", (), tags))[:8]
    'f5203fa5'
    """
    parts = (version.tags.get("source_sha256", ""), version.tags.get("params", ""))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def rollback(
    registry: Registry, record: RollbackRecord, name: str, at: datetime, by: str
) -> tuple[str, str]:
    """Make the previous champion the champion again; return the version numbers (from, to).

    What is taken out is remembered before any alias moves: the gate does not promote the same
    source and parameters again. A second rollback does not bring it back. Raises PromotionError
    where there is no champion to return to.
    """
    with record.alias_lock(name):
        champion, previous = registry.find(name, CHAMPION), registry.find(name, PREVIOUS)
        if champion is None:
            raise PromotionError(f"rollback: '{name}' has no champion; promote a version first")
        if previous is None:
            raise PromotionError(
                f"rollback: '{name}' has had no champion before version {champion.version}; "
                "halt the account to stop it trading"
            )
        if previous.version == champion.version:
            raise PromotionError(
                f"rollback: version {champion.version} of '{name}' is the previous champion "
                "already; to go elsewhere point the alias 'champion' at a version in the registry"
            )
        if strategy_hash(previous) in record.rolled_back(name):
            raise PromotionError(
                f"rollback: the champion before, version {previous.version} of '{name}', was "
                "rolled back itself; halt the account, or point the alias 'champion' at another "
                "version in the registry"
            )
        record.remember(name, champion.version, strategy_hash(champion), at, by)
        registry.move_alias(name, ROLLED_BACK, champion.version)
        registry.move_alias(name, CHAMPION, previous.version)
        return champion.version, previous.version


def not_rolled_back(
    registry: Registry, record: RollbackRecord, candidate: ModelVersion
) -> CriterionResult:
    """No operator has taken out a version with the candidate's source and parameters."""
    known = dict(record.rolled_back(candidate.name))
    aliased = registry.find(candidate.name, ROLLED_BACK)
    if aliased is not None:  # from before rollbacks were kept
        known.setdefault(strategy_hash(aliased), aliased.version)
    taken_out = known.get(strategy_hash(candidate))
    if taken_out is None:
        return CriterionResult(
            "not_rolled_back", True, None, None, "no operator has rolled this strategy back"
        )
    same = (
        f"version {taken_out} was rolled back by an operator"
        if taken_out == candidate.version
        else f"version {candidate.version} has the source and the parameters of version "
        f"{taken_out}, which was rolled back by an operator"
    )
    reason = f"{same}; other parameters or a changed source may compete"
    return CriterionResult("not_rolled_back", False, None, None, reason)
