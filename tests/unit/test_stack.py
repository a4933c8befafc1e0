"""A command beside a running stack: what it takes over, what it keeps, and what it says of the
difference. What the stack's own processes find in their environment.
"""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
import yaml
from typer.testing import CliRunner

from penstock.core.actors import Actor, Channel
from penstock.core.errors import ConfigError
from penstock.interfaces.cli import app
from penstock.interfaces.cli.remedies import error_remedy, stack_lines
from penstock.pipeline.doctor import _no_stack
from penstock.pipeline.stack_health import StackHealth, stack_health
from penstock.settings import Process, Settings, StackSecret, stack_secret
from penstock.stack import (
    Addresses,
    PartNote,
    Phase,
    StackError,
    StackNote,
    StackNotRunningError,
    Step,
    follow_stack,
    read_stack,
    require_chosen_environment,
)
from penstock.stack.environments import StackEnvironments
from penstock.stack.processes import Identity
from penstock.stack.restarts import Restarts
from penstock.stack.state import forget_stack, state_file, write_stack

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
    me = Identity.of_this_process()
    write_stack(StackNote(tmp_path, me, Phase.RUNNING, ADDRESSES), tmp_path)
    return {"PENSTOCK_HOME": str(tmp_path)}


def test_command_that_says_nothing_works_with_the_stack(caller: dict[str, str]) -> None:
    """Environment, servers and keys are the stack's. An empty variable counts as none. This
    process's own environment does not change.
    """
    before = dict(os.environ)
    followed = follow_stack({**caller, "PENSTOCK_ENV": ""})
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
    assert "PREFECT_API_AUTH_STRING" not in follow_stack({**caller, **own}).variables
    same = {"PREFECT_API_URL": "http://127.0.0.1:4200/api"}
    assert "PREFECT_API_AUTH_STRING" in follow_stack({**caller, **same}).variables


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
    followed = follow_stack({**caller, "PENSTOCK_ENV": "paper"})
    assert followed.variables["PENSTOCK_ENV"] == "paper"
    assert followed.kept == {"PENSTOCK_ENV": ("paper", "practice")}


def test_other_database_is_refused(caller: dict[str, str]) -> None:
    """Two databases would be two ledgers of one account."""
    other = {"PENSTOCK_DATABASE_URL": "postgresql://me@127.0.0.1:5499/penstock"}
    with pytest.raises(ConfigError, match="set PENSTOCK_DATABASE_URL to the value"):
        follow_stack({**caller, **other})


def test_the_stacks_own_children_may_name_its_embedded_database(caller: dict[str, str]) -> None:
    """The supervisor gives its children the database's URL: a practice exchange that it starts
    again must come up.
    """
    own = {"PENSTOCK_DATABASE_URL": f"postgresql://{EMBEDDED}"}
    assert not follow_stack({**caller, **own}).kept


def test_nothing_is_followed_once_the_stack_has_ended(
    caller: dict[str, str], tmp_path: Path
) -> None:
    """Without a stack the caller's environment is all there is."""
    forget_stack(tmp_path)
    followed = follow_stack(caller)
    assert (followed.variables, followed.kept) == (caller, {})


def test_command_that_writes_is_refused_where_nobody_chose_an_environment(
    caller: dict[str, str], tmp_path: Path
) -> None:
    """Paper, with a live venue, is no choice of who had a stack. While one runs, or its supervisor
    was killed, it has chosen. So has PENSTOCK_ENV.
    """
    require_chosen_environment(follow_stack(caller).variables)
    forget_stack(tmp_path)
    left = follow_stack(caller).variables
    with pytest.raises(StackNotRunningError) as error:
        require_chosen_environment(left)
    assert str(error.value) == (
        f"no stack runs from {tmp_path} and PENSTOCK_ENV is not set: the last stack worked with "
        "'practice', this command would work with 'paper'"
    )
    assert "`penstock up` starts the stack" in error_remedy(error.value)
    require_chosen_environment({**left, "PENSTOCK_ENV": "paper"})
    assert _no_stack(Settings.of(left)).warning
    assert not _no_stack(Settings.of({**left, "PENSTOCK_ENV": "paper"})).warning


def test_home_without_a_stack_works_on_paper_and_is_not_asked(tmp_path: Path) -> None:
    """A first-time user of paper chose nothing, and need not. Nor who had a stack on paper."""
    variables = {"PENSTOCK_HOME": str(tmp_path)}
    require_chosen_environment(variables)
    assert not _no_stack(Settings.of(variables)).warning
    addresses = replace(ADDRESSES, environment="paper", practice="")
    write_stack(StackNote(tmp_path, Identity(1, "x"), Phase.RUNNING, addresses), tmp_path)
    forget_stack(tmp_path)
    require_chosen_environment(variables)


def test_home_of_an_older_version_is_known_by_its_practice_keys(caller: dict[str, str]) -> None:
    """It left no record of its stack."""
    home = Path(caller["PENSTOCK_HOME"])
    state_file(home).unlink()
    require_chosen_environment(caller)
    Settings(Process(home=home)).practice_keys()
    with pytest.raises(StackNotRunningError, match="'practice'"):
        require_chosen_environment(caller)


@pytest.mark.parametrize(
    ("command", "refused"),
    [("ingest", True), ("trade", True), ("report", False), ("halt --reason drill", False)],
)
def test_commands_without_an_environment_are_refused_or_name_theirs(
    command: str,
    refused: bool,
    caller: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What writes is refused before anything is opened. What reads, and the kill switch, names its
    environment in one line. Help is always given.
    """
    forget_stack(tmp_path)
    monkeypatch.setenv("PENSTOCK_HOME", caller["PENSTOCK_HOME"])
    monkeypatch.setenv("PENSTOCK_CONFIGS", str(tmp_path / "none"))  # ends each that goes on
    monkeypatch.delenv("PENSTOCK_ENV", raising=False)
    shown = CliRunner().invoke(app, command.split())
    assert isinstance(shown.exception, StackNotRunningError if refused else ConfigError)
    noted = [line for line in shown.stderr.splitlines() if line.startswith("note: no stack runs")]
    assert len(noted) == (not refused)
    assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0


def test_client_of_ones_own_gets_keys_once_and_no_portfolios(tmp_path: Path) -> None:
    """Its keys stay, they open an account at the next start, and a portfolio keeps its own."""
    settings = Settings(Process(home=tmp_path, env="practice"))
    keys = settings.client_keys("my-bot")
    assert settings.client_keys("my-bot") == keys == settings.practice_keys()["my-bot"]
    with pytest.raises(ConfigError, match="portfolio trades"):
        settings.client_keys("daily")


def test_keys_that_are_made_at_once_are_all_kept(tmp_path: Path) -> None:
    """No client's key is lost because another's was written meanwhile."""
    settings = Settings(Process(home=tmp_path, env="practice"))
    names = [f"bot-{number}" for number in range(24)]
    with ThreadPoolExecutor(8) as threads:
        made = dict(zip(names, threads.map(settings.client_keys, names), strict=True))
    assert made.items() <= settings.practice_keys().items()


def test_pauses_between_starts_grow_and_alerts_become_few() -> None:
    """2, 4, 8 ... 60 seconds; an alert for the first two deaths, an urgent one for the third, a
    reminder each half hour. Ten minutes of life make the next death a first one again.
    """
    restarts = Restarts("worker", "worker.log")
    now, pauses, titles = 0.0, [], []
    for _ in range(40):
        restarts.started(now)
        alert = restarts.died(now, "exit code 1")
        titles.append(alert.title if alert else "")
        pauses.append(restarts.next_start - now)
        now = restarts.next_start
    assert pauses[:7] == [2, 4, 8, 16, 32, 60, 60]
    assert titles[:4] == ["worker has ended"] * 2 + ["URGENT: worker ends again and again", ""]
    assert [n for n, title in enumerate(titles) if title] == [0, 1, 2, 35]  # 1800 s later
    restarts.started(now)
    calm = restarts.died(now + 600, "exit code 1")
    assert (calm.title, restarts.next_start - now) == ("worker has ended", 602)


def test_status_names_what_lives_and_what_is_dead(tmp_path: Path) -> None:
    """With a supervisor the dead part is a fault of its own. Without one the whole stack is, and
    what to do about it is said. After a restart of the machine nothing of it can live.
    """
    me, gone = Identity.of_this_process(), Identity(1, "another-boot:1")
    worker = PartNote("worker", Step.DEAD, gone, 2, "2026-01-01 00:00:00", "exit code 3")
    server = PartNote("mlflow-server", Step.UP, me)
    external = replace(ADDRESSES, external_database="db/penstock")
    note = StackNote(tmp_path, me, Phase.RUNNING, external, (server, worker))
    settings = Settings(Process(home=tmp_path))

    def seen(note: StackNote) -> StackHealth:
        write_stack(note, tmp_path)
        found = stack_health(settings, Actor("tester", Channel.CLI))
        assert found is not None
        return found

    death = "it has ended 2 times, last at 2026-01-01 00:00:00 UTC (exit code 3)"
    watched = seen(note)
    assert watched.faults == (f"worker is dead: {death}",)
    lists = f"alive: mlflow-server (process {me.pid}); dead: worker (process 1)"
    assert stack_lines(watched) == [f"stack: supervisor (process {me.pid}) is running; {lists}"]
    died = seen(replace(note, supervisor=replace(me, started=f"{me.started}0")))
    assert died.faults == (f"its supervisor (process {me.pid}) has died; {lists}",)
    assert "`penstock up`" in stack_lines(died)[-1]
    assert seen(replace(note, supervisor=gone)).supervision == "the machine was restarted under it"
    back = seen(replace(note, parts=(replace(server, deaths=1, reason="killed by SIGKILL"),)))
    assert back.faults == ()
    assert back.past_deaths[0].startswith("mlflow-server was started again: it has ended once")


def test_abandoned_stack_lends_only_the_servers_that_live(caller: dict[str, str]) -> None:
    """Its environment is followed: nobody asked for paper. A dead Prefect server is not named."""
    home = Path(caller["PENSTOCK_HOME"])
    dead = replace(Identity.of_this_process(), started="another-boot:1")
    write_stack(StackNote(home, dead, Phase.RUNNING, ADDRESSES), home)
    followed = follow_stack(caller)
    assert followed.variables["PENSTOCK_ENV"] == "practice"
    assert "PREFECT_API_URL" not in followed.variables
    assert followed.abandoned is not None


def test_note_of_an_earlier_version_is_read_where_its_stack_has_ended(tmp_path: Path) -> None:
    """Of one that still runs its process is named."""
    me = psutil.Process()
    noted = {"pid": me.pid, "started": me.create_time() - 60, **asdict(ADDRESSES)}
    state_file(tmp_path).write_text(json.dumps(noted))
    found = read_stack(tmp_path)
    assert found is not None
    assert (found.supervised, found.addresses) == (False, ADDRESSES)
    state_file(tmp_path).write_text(json.dumps({**noted, "started": me.create_time()}))
    with pytest.raises(StackError, match=f"another version .* 'kill {me.pid}'"):
        read_stack(tmp_path)
