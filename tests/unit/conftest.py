"""An account in memory, so that execution's own rules are tested in milliseconds."""

import pytest

from penstock.testing.world import TwoVenueWorld, World, make_two_venue_world, make_world


@pytest.fixture
def world() -> World:
    return make_world()


@pytest.fixture
def two() -> TwoVenueWorld:
    return make_two_venue_world()
