"""A command beside a running stack: what it takes over, what it keeps, and what it says of the
difference.
"""

import os
from pathlib import Path

import pytest

from penstock.core.errors import ConfigError
from penstock.stack import Addresses, follow_running_stack
from penstock.stack.state import forget_state, write_state

EMBEDDED = "penstock@127.0.0.1:5433/penstock"
ADDRESSES = Addresses(
    environment="practice",
    external_database="",
    prefect="http://127.0.0.1:4200",
    mlflow="http://127.0.0.1:5000",
    database=EMBEDDED,
    practice="http://127.0.0.1:8190",
)


@pytest.fixture
def caller(tmp_path: Path) -> dict[str, str]:
    """The variables of a command whose home folder has a stack, run by this very process."""
    write_state(tmp_path, ADDRESSES)
    return {"PENSTOCK_HOME": str(tmp_path)}


def test_command_that_says_nothing_works_with_the_stack(caller: dict[str, str]) -> None:
    """Environment, servers and keys are the stack's. An empty variable counts as none. This
    process's own environment does not change.
    """
    before = dict(os.environ)
    followed = follow_running_stack({**caller, "PENSTOCK_ENV": ""})
    assert not followed.kept
    assert followed.variables["PENSTOCK_ENV"] == "practice"
    assert followed.variables["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert followed.variables["PENSTOCK_PRACTICE_DAILY_KEY"]
    assert dict(os.environ) == before


def test_differing_environment_is_kept_and_said(caller: dict[str, str]) -> None:
    """A command in another environment than the stack's stays in its own, and the output names
    both.
    """
    followed = follow_running_stack({**caller, "PENSTOCK_ENV": "paper"})
    assert followed.variables["PENSTOCK_ENV"] == "paper"
    assert followed.kept == {"PENSTOCK_ENV": ("paper", "practice")}


def test_other_database_is_refused(caller: dict[str, str]) -> None:
    """Two databases would be two ledgers of one account."""
    other = {"PENSTOCK_DATABASE_URL": "postgresql://me@127.0.0.1:5499/penstock"}
    with pytest.raises(ConfigError, match="set PENSTOCK_DATABASE_URL to the value"):
        follow_running_stack({**caller, **other})


def test_the_stacks_own_children_may_name_its_embedded_database(caller: dict[str, str]) -> None:
    """The supervisor gives its children the database's URL: a practice exchange that it starts
    again must come up.
    """
    own = {"PENSTOCK_DATABASE_URL": f"postgresql://{EMBEDDED}"}
    assert not follow_running_stack({**caller, **own}).kept


def test_nothing_is_followed_once_the_stack_has_ended(
    caller: dict[str, str], tmp_path: Path
) -> None:
    """Without a stack the caller's environment is all there is."""
    forget_state(tmp_path)
    followed = follow_running_stack(caller)
    assert (followed.variables, followed.kept) == (caller, {})
