"""A command beside a running stack: what it takes over, what it keeps, and what it says of the
difference. What the stack's own processes find in their environment.
"""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from penstock.core.errors import ConfigError
from penstock.settings import Process, Settings, StackSecret, stack_secret
from penstock.stack import Addresses, follow_running_stack
from penstock.stack.environments import StackEnvironments
from penstock.stack.state import forget_state, write_state

ROOT = Path(__file__).resolve().parents[2]
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
    auth = Path(caller["PENSTOCK_HOME"], "prefect-auth").read_text()
    assert followed.variables["PREFECT_API_AUTH_STRING"] == auth
    assert dict(os.environ) == before


def test_other_prefect_server_is_not_told_how_to_get_into_this_one(caller: dict[str, str]) -> None:
    """A command that works with a server of its own sends it no password of the stack's."""
    own = {"PREFECT_API_URL": "http://192.0.2.1:4200/api"}
    assert "PREFECT_API_AUTH_STRING" not in follow_running_stack({**caller, **own}).variables
    same = {"PREFECT_API_URL": "http://127.0.0.1:4200/api"}
    assert "PREFECT_API_AUTH_STRING" in follow_running_stack({**caller, **same}).variables


def test_secrets_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    """Processes that ask at once get the same secret, and no two secrets are the same. The files
    have mode 0600 whatever the umask, and nothing else is left behind.
    """
    home = tmp_path / "home"
    before = os.umask(0)
    try:
        with ThreadPoolExecutor(16) as threads:
            made = list(threads.map(lambda which: stack_secret(home, which), [*StackSecret] * 20))
    finally:
        os.umask(before)
    values = {secret.get_secret_value() for secret in made}
    assert len(values) == len(StackSecret) == 3
    assert sorted(path.name for path in home.iterdir()) == sorted(StackSecret)
    assert {path.stat().st_mode & 0o777 for path in home.iterdir()} == {0o600}
    assert all(len(value) >= 48 for value in values)
    assert not any(value in repr(made) for value in values)


def test_processes_of_the_stack_find_what_they_need_and_nothing_else(tmp_path: Path) -> None:
    """The worker has the keys of the accounts it trades. No other key, no other password of the
    caller's environment reaches a process, and no server has a key.
    """
    typed = {
        "PATH": "/usr/bin",
        "LC_ALL": "C.UTF-8",
        "BINANCE_TESTNET_KEY": "testnet-key",
        "BINANCE_TESTNET_SECRET": "testnet-secret",
        "BINANCE_KEY": "real-key",
        "BINANCE_SECRET": "real-secret",
        "AWS_SECRET_ACCESS_KEY": "cloud-secret",
        "PREFECT_API_KEY": "prefect-cloud-key",
        "PENSTOCK_NOTIFY_URLS": "tgram://alerts",
        "PENSTOCK_ENV": "testnet",
        "PENSTOCK_HOME": str(tmp_path),
        "PENSTOCK_CONFIGS": str(ROOT / "configs"),
    }
    made = StackEnvironments(
        Settings.of(typed), replace(ADDRESSES, practice=""), "postgresql://user:dbpass@h/{}".format
    )
    prefect, mlflow = (
        stack_secret(tmp_path, which).get_secret_value()
        for which in (StackSecret.PREFECT, StackSecret.MLFLOW)
    )
    worker = made.worker()
    assert worker["BINANCE_TESTNET_KEY"] == "testnet-key"
    assert worker["PENSTOCK_NOTIFY_URLS"] == "tgram://alerts"
    assert worker["PREFECT_API_AUTH_STRING"] == prefect
    assert worker["PENSTOCK_MLFLOW_URL"] == f"http://{mlflow}@127.0.0.1:5000"
    assert not [name for name in worker if name.startswith("PREFECT_SERVER_")]
    servers = (made.prefect_server(), made.mlflow_server(), made.practice_exchange())
    for each in (*servers, made.deploying()):
        assert (each["PATH"], each["LC_ALL"]) == ("/usr/bin", "C.UTF-8")
        assert "testnet-secret" not in each.values()
        assert "tgram://alerts" not in each.values()
    for each in (worker, *servers, made.deploying()):
        assert not {"real-key", "real-secret", "cloud-secret", "prefect-cloud-key"} & {
            *each.values()
        }
    prefect_server = made.prefect_server()
    assert prefect_server["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == (
        "http://127.0.0.1:4200,http://localhost:4200"
    )
    # the V2 pages ask another company's server
    assert prefect_server["PREFECT_SERVER_UI_V2_ENABLED"] == "false"


def test_practice_keys_are_the_workers_on_the_practice_exchange(tmp_path: Path) -> None:
    """There the keys are made, and the worker has those of the accounts of the environment."""
    settings = Settings.of(
        {
            "PENSTOCK_ENV": "practice",
            "PENSTOCK_HOME": str(tmp_path),
            "PENSTOCK_CONFIGS": str(ROOT / "configs"),
        }
    )
    made = StackEnvironments(settings, ADDRESSES, "postgresql://h/{}".format)
    keys = settings.practice_key_variables()
    assert len(keys) == 2 * len(settings.environment.accounts)
    assert keys.items() <= made.worker().items()
    assert not {*keys.values()} & {*made.practice_exchange().values()}


def test_fourth_practice_account_needs_configuration_only(tmp_path: Path) -> None:
    """Its keys are made, those of the others stay, and the variables are those that the file
    names. At several venues each has its own.
    """
    configs = Path(shutil.copytree(ROOT / "configs", tmp_path / "configs"))
    process = Process(home=tmp_path / "home", configs=configs, env="practice")
    before = Settings(process).practice_keys()
    environments = yaml.safe_load((configs / "environments.yaml").read_text())
    environments["practice"]["accounts"]["fourth"] = {
        "name": "practice-fourth",
        "api_key_env": "FOURTH_KEY",
        "secret_env": "FOURTH_SECRET",
    }
    url = "http://127.0.0.1:{}"
    environments["practice"]["accounts"]["both"] = {
        "name": "practice-both",
        "venues": {
            name: {
                "ccxt_id": "binance",
                "base_url": url.format(8190 + n),
                "api_key_env": f"{name.upper()}_KEY",
                "secret_env": f"{name.upper()}_SECRET",
            }
            for n, name in enumerate(("one", "two"))
        },
    }
    (configs / "environments.yaml").write_text(yaml.safe_dump(environments))
    after = Settings(process).practice_keys()
    assert before.items() < after.items()
    assert set(after) - set(before) == {"fourth", "both/one", "both/two"}
    variables = Settings(process).practice_key_variables()
    assert (variables["FOURTH_KEY"], variables["FOURTH_SECRET"]) == after["fourth"]
    assert (variables["TWO_KEY"], variables["TWO_SECRET"]) == after["both/two"]
    assert variables["PENSTOCK_PRACTICE_DAILY_KEY"] == before["daily"][0]
    assert Settings(process).practice_keys() == after
    assert (process.home / "practice-keys.json").stat().st_mode & 0o777 == 0o600


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
