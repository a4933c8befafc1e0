"""Searches in processes of their own, killed by SIGKILL at random trials and begun again."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.adapters.stores.postgres import connect
from tests.forked import ROOT, ForkedPrograms
from tests.integration.research.searcher import TRIALS, outcome_of, run_search
from tests.servers import DatabaseServers

pytestmark = pytest.mark.slow

_KEPT = "SELECT count(*), count(DISTINCT number) FROM trial"
MODULE = "tests.integration.research.searcher"


@pytest.mark.parametrize(
    ("seed", "kills"), [(1, 3), *(pytest.param(n, 4, marks=pytest.mark.soak) for n in range(2, 7))]
)
def test_killed_search_that_goes_on_finds_what_an_undisturbed_one_finds(
    seed: int, kills: int, servers: DatabaseServers, forked: ForkedPrograms, tmp_path: Path
) -> None:
    """Each process is killed at a random trial of those that it begins. What is left at the end is
    every trial once, and no trial is "running".
    """
    undisturbed = outcome_of(run_search(seed))
    url, draw, out = servers.migrated(), random.Random(seed), tmp_path / "found.json"
    environment = dict(os.environ)
    kept = 0
    for _ in range(kills):
        at = draw.randint(1, 14)
        done = forked.run(MODULE, url, str(seed), str(at), str(out), environment=environment)
        assert done.returncode == -9, done.stderr[-2000:]
        assert not out.exists()
        with connect(url) as database, database.reading() as connection:
            row = connection.execute(_KEPT).fetchone()
        assert row is not None
        assert row[0] == row[1] >= kept, "a trial that was kept is lost, or there twice"
        kept = row[0]
    done = forked.run(MODULE, url, str(seed), "0", str(out), environment=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(out.read_text()) == undisturbed
    with connect(url) as database, database.reading() as connection:
        row = connection.execute("SELECT count(*), max(number) FROM trial").fetchone()
        looks = connection.execute(
            "SELECT count(*) FILTER (WHERE trials IS NULL), count(*) FROM look"
        ).fetchone()
    assert row == (TRIALS, TRIALS - 1)
    assert looks == (kills, kills + 1)
    print(f"seed {seed}: killed {kills} times, resumed equal to undisturbed")


@pytest.mark.soak
def test_two_processes_share_one_study_also_when_one_is_killed(
    servers: DatabaseServers, tmp_path: Path
) -> None:
    """Two that work to the end, and then one that survives another, find the same."""
    for seed, kill_at in ((11, "0"), (12, "7")):
        url, undisturbed = servers.migrated(), outcome_of(run_search(seed))
        outs = [tmp_path / f"{seed}-{k}.json" for k in range(2)]
        running = [
            subprocess.Popen([sys.executable, "-m", MODULE, url, str(seed), at, str(out)], cwd=ROOT)
            for at, out in zip(("0", kill_at), outs, strict=True)
        ]
        codes = [process.wait(300) for process in running]
        assert codes == [0, 0 if kill_at == "0" else -9]
        for code, out in zip(codes, outs, strict=True):
            assert code or json.loads(out.read_text()) == undisturbed
        with connect(url) as database, database.reading() as connection:
            row = connection.execute(_KEPT).fetchone()
        assert row == (TRIALS, TRIALS)
