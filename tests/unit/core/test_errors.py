"""Errors come through a process boundary as they were."""

import pickle

import pytest

from penstock.core.errors import NoSearchError, NoVersionError, PenstockError


@pytest.mark.parametrize("error", [NoVersionError("daily", "champion"), NoSearchError("daily")])
def test_error_with_details_survives_pickling(error: PenstockError) -> None:
    """What names a remedy keeps its words and its fields."""
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
    assert "first" in str(copy)
