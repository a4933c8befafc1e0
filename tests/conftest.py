"""Fixtures for every suite: where the real candles are, and a compiled-code cache that outlives a run."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def candles_dir() -> Path:
    """The folder of real candles; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("PENSTOCK_TEST_CANDLES", ROOT.parent / "shared" / "data" / "candles"))
    if not folder.is_dir():
        pytest.skip(f"no real candles at {folder}: set PENSTOCK_TEST_CANDLES to a folder of Parquet files to run this")
    return folder
