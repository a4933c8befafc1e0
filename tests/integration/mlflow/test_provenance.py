"""Which code ran, read from a real git checkout."""

import subprocess
from pathlib import Path

import pytest

from penstock.adapters.mlflow.provenance import CodeState, code_state


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one commit: a strategy, a configuration and a file of keys."""
    (tmp_path / "strategies").mkdir()
    (tmp_path / "configs").mkdir()
    (tmp_path / "strategies" / "trend.py").write_text("LOOKBACK = 20\n")
    (tmp_path / "configs" / "costs.yaml").write_text("fee_bps: 10\n")
    (tmp_path / "keys.env").write_text("KEY=old\n")
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path


def test_clean_checkout_is_a_commit_without_a_diff(checkout: Path) -> None:
    """Forty hexadecimal digits, and nothing uncommitted."""
    state = code_state(checkout / "strategies")
    assert len(state.commit) == 40
    assert state.diff == ""


def test_changes_anywhere_in_the_checkout_are_recorded_but_not_keys(checkout: Path) -> None:
    """Asked from a sub-folder, changes in other folders are seen too; a file of keys is never
    copied out.
    """
    (checkout / "strategies" / "trend.py").write_text("LOOKBACK = 30\n")
    (checkout / "configs" / "costs.yaml").write_text("fee_bps: 5\n")
    (checkout / "keys.env").write_text("KEY=secret\n")
    diff = code_state(checkout / "strategies").diff
    assert "+LOOKBACK = 30" in diff
    assert "+fee_bps: 5" in diff
    assert "secret" not in diff


def test_folder_outside_git_has_no_state(tmp_path: Path) -> None:
    """An installed package has no commit, and that is no error."""
    assert code_state(tmp_path) == CodeState("", "")
