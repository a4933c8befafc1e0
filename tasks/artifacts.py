"""Prefect artifacts: what a run leaves behind for a reader of the UI."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
from prefect.artifacts import (
    acreate_table_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)


def artifact_key(*parts: str) -> str:
    """Return `parts` as a key that Prefect takes: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def publish_table(key: str, table: pl.DataFrame, description: str) -> None:
    """Keep a table as an artifact."""
    create_table_artifact(key=artifact_key(key), table=_as_text(table), description=description)


def publish_rows(key: str, rows: Sequence[Mapping[str, str]], description: str) -> None:
    """Keep rows of text as a table."""
    create_table_artifact(
        key=artifact_key(key), table=[dict(row) for row in rows], description=description
    )


async def publish_rows_async(key: str, rows: Sequence[Mapping[str, str]], description: str) -> None:
    """Keep rows of text as a table of an async flow."""
    await acreate_table_artifact(
        key=artifact_key(key), table=[dict(row) for row in rows], description=description
    )


def _as_text(table: pl.DataFrame) -> list[dict[str, str]]:
    """Return the rows with every value as text, so that no number loses digits in the browser."""
    return [
        {name: "" if value is None else str(value) for name, value in row.items()}
        for row in table.to_dicts()
    ]


def publish_text(key: str, markdown: str, description: str) -> None:
    """Keep a text as an artifact."""
    create_markdown_artifact(key=artifact_key(key), markdown=markdown, description=description)


def publish_file(key: str, path: Path, description: str) -> None:
    """Keep a link to a file of this machine as an artifact."""
    create_link_artifact(
        key=artifact_key(key),
        link=path.resolve().as_uri(),
        link_text=path.name,
        description=description,
    )
