"""Errors come through a process boundary as they were."""

import pickle

import pytest

from penstock.core.errors import (
    NoBarsError,
    NoSearchError,
    NoVersionError,
    PenstockError,
    PracticeExchangeDownError,
)


@pytest.mark.parametrize(
    "error",
    [
        NoVersionError("daily", "champion"),
        NoSearchError("daily"),
        NoBarsError("binance", "1d"),
        PracticeExchangeDownError("http://127.0.0.1:8190", "binance, time"),
    ],
)
def test_error_with_details_survives_pickling(error: PenstockError) -> None:
    """What names a remedy keeps its words and its fields."""
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
    assert "first" in str(copy)
