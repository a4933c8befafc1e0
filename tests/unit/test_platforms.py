"""A platform works with the environment that is passed in, and with no other."""

import ast
import os
from pathlib import Path

import pytest

import penstock
from penstock.core.errors import ConfigError, PracticeExchangeDownError
from penstock.interfaces.cli.remedies import error_remedy
from penstock.pipeline.doctor import Subject, _failed
from penstock.settings import Settings
from penstock.wiring import Platform

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(penstock.__file__).parent
PRACTICE_KEYS = ("PENSTOCK_PRACTICE_DAILY_KEY", "PENSTOCK_PRACTICE_DAILY_SECRET")
#: MLflow reads its switches from the process's environment, when it is imported, and nowhere else.
WRITERS = {"adapters/mlflow/connection.py"}


def platform(home: Path, **variables: str) -> Platform:
    said = {"PENSTOCK_HOME": str(home), "PENSTOCK_CONFIGS": str(ROOT / "configs"), **variables}
    return Platform(Settings.of(said), "postgresql://nobody@127.0.0.1:1/none")


def test_two_platforms_of_different_environments_live_in_one_process(tmp_path: Path) -> None:
    """Each has its own home, environment, venue address and keys, and the process's environment is
    left as it was.
    """
    before = dict(os.environ)
    first, second = (
        platform(
            tmp_path / name,
            PENSTOCK_ENV="practice",
            PENSTOCK_PRACTICE_URL=f"http://127.0.0.1:{port}",
            **dict.fromkeys(PRACTICE_KEYS, name),
        )
        for name, port in (("one", 9001), ("two", 9002))
    )
    paper = platform(tmp_path / "three")
    clients = [
        each.exchange("daily").client  # type: ignore[attr-defined]  # of ccxt's adapter
        for each in (first, second)
    ]
    assert [client.apiKey for client in clients] == ["one", "two"]
    assert [each.home.name for each in (first, second, paper)] == ["one", "two", "three"]
    assert [each.environment.trading for each in (first, second, paper)] == [
        "venue",
        "venue",
        "paper",
    ]
    assert first.exchange_name == second.exchange_name != paper.exchange_name
    assert dict(os.environ) == before


def test_keys_of_this_process_are_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that only the process's environment has is a key that the platform was not given."""
    for part in ("KEY", "SECRET"):
        monkeypatch.setenv(f"BINANCE_TESTNET_{part}", "mine")
    with pytest.raises(ConfigError, match="BINANCE_TESTNET_KEY is empty"):
        platform(tmp_path, PENSTOCK_ENV="testnet").exchange("daily")


@pytest.mark.parametrize("keys", [{}, dict.fromkeys(PRACTICE_KEYS, "k")], ids=["no keys", "keys"])
def test_practice_account_without_the_stack_says_that_the_stack_is_not_running(
    tmp_path: Path, keys: dict[str, str]
) -> None:
    """Not that a key is empty, which the stack makes, nor that a venue's server or a clock is to
    blame. The doctor sends its reader to the stack, too.
    """
    nobody = {"PENSTOCK_ENV": "practice", "PENSTOCK_PRACTICE_URL": "http://127.0.0.1:1"}
    opened = platform(tmp_path, **nobody, **keys)
    calls = [
        lambda: opened.exchange("daily").balances(),
        opened.clock.now,
        opened.market.instruments,
    ]
    for call in calls:
        with pytest.raises(PracticeExchangeDownError) as error:
            call()
        assert "does not answer at http://127.0.0.1:1: the stack is not running" in str(error.value)
        assert _failed(Subject.VENUE_CLOCK, error.value).cause is Subject.STACK
    assert error_remedy(error.value).startswith("start it with `penstock up`")


@pytest.mark.parametrize("consent", [{}, {"PENSTOCK_LIVE": "real-money"}])
def test_real_account_is_not_opened_for_orders_without_both_consents(
    tmp_path: Path, consent: dict[str, str]
) -> None:
    """The keys are there. `live: true` is not in the shipped environments.yaml: the platform opens
    no account, whatever the environment says.
    """
    real = platform(
        tmp_path, PENSTOCK_ENV="real", BINANCE_KEY="key", BINANCE_SECRET="secret", **consent
    )
    with pytest.raises(ConfigError, match="would trade real money"):
        real.exchange("daily")


def test_nothing_writes_the_environment_of_the_process() -> None:
    """An environment that is written reaches every platform of the process, and no test would see
    whose it was.
    """
    writers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(_writes(node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert writers == WRITERS


def _writes(node: ast.AST) -> bool:
    """Whether a node changes os.environ: an item of it, one of its methods, or os.putenv."""
    if isinstance(node, ast.Subscript):
        return isinstance(node.ctx, ast.Store | ast.Del) and _is_environ(node.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        changing = ("setdefault", "update", "pop", "clear", "__setitem__")
        return node.func.attr in ("putenv", "unsetenv") or (
            node.func.attr in changing and _is_environ(node.func.value)
        )
    return False


def _is_environ(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "environ"
