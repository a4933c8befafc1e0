"""An account in memory, so that execution's own rules are tested in milliseconds."""

import pytest

from penstock.testing.world import Two, World, make_two, make_world


@pytest.fixture
def world() -> World:
    return make_world()


@pytest.fixture
def two() -> Two:
    return make_two()
