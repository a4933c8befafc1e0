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
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder from which this very process runs a stack; the caller's environment says
    nothing else.
    """
    monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path))
    names = ("PENSTOCK_ENV", "PREFECT_API_URL", "PENSTOCK_PRACTICE_URL", "PENSTOCK_DATABASE_URL")
    accounts, parts = ("DAILY", "MINUTE", "PRACTICE_MINUTE"), ("KEY", "SECRET")
    keys = [f"PENSTOCK_PRACTICE_{account}_{part}" for account in accounts for part in parts]
    for name in (*names, *keys):
        monkeypatch.setenv(
            name, ""
        )  # set first, so that what follow_running_stack writes is undone at the end
    write_state(tmp_path, ADDRESSES)
    return tmp_path


def test_command_that_says_nothing_works_with_the_stack(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environment, servers and keys are the stack's, an empty variable counts as none, and there is
    nothing to tell.
    """
    assert follow_running_stack() == []
    assert os.environ["PENSTOCK_ENV"] == "practice"
    assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert os.environ["PENSTOCK_PRACTICE_DAILY_KEY"]


def test_differing_environment_is_kept_and_said(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command in another environment than the stack's goes on in its own, and says which is which
    and what to do.
    """
    monkeypatch.setenv("PENSTOCK_ENV", "paper")
    (said,) = follow_running_stack()
    assert os.environ["PENSTOCK_ENV"] == "paper"
    assert "PENSTOCK_ENV is paper here and practice in the stack" in said
    assert "unset PENSTOCK_ENV" in said


def test_other_database_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two databases would be two ledgers of one account."""
    monkeypatch.setenv("PENSTOCK_DATABASE_URL", "postgresql://me@127.0.0.1:5499/penstock")
    with pytest.raises(ConfigError, match="set PENSTOCK_DATABASE_URL as it was"):
        follow_running_stack()


def test_the_stacks_own_children_may_name_its_embedded_database(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor gives its children the database's URL: a practice exchange that it starts
    again must come up.
    """
    monkeypatch.setenv("PENSTOCK_DATABASE_URL", f"postgresql://{EMBEDDED}")
    assert follow_running_stack() == []


def test_nothing_is_followed_once_the_stack_has_ended(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a stack the caller's environment is all there is."""
    forget_state(home)
    assert follow_running_stack() == []
    assert os.environ["PENSTOCK_ENV"] == ""
