"""A snapshot as a dataset of MLflow.

Its source is a name and an address of our own, because MLflow refuses addresses of databases.
"""

from typing import Any

import polars as pl
from mlflow.data.dataset_source import DatasetSource


class SnapshotSource(DatasetSource):
    """Where a snapshot of bars is kept."""

    def __init__(self, uri: str, content_hash: str) -> None:
        self.uri = uri
        self.content_hash = content_hash

    @staticmethod
    def _get_source_type() -> str:
        return "penstock_snapshot"

    def load(self) -> pl.DataFrame:
        """Return the snapshot's bars."""
        return pl.read_parquet(self.uri)

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        return isinstance(raw_source, SnapshotSource)

    @classmethod
    def _resolve(cls, raw_source: "SnapshotSource") -> "SnapshotSource":
        return raw_source

    def to_dict(self) -> dict[str, Any]:
        return {"uri": self.uri, "content_hash": self.content_hash}

    @classmethod
    def from_dict(cls, source_dict: dict[Any, Any]) -> "SnapshotSource":
        return cls(source_dict["uri"], source_dict["content_hash"])
