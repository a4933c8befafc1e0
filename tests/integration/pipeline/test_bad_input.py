"""Bad input at the command line: one clear sentence on stderr, exit code 1, no traceback, nothing
half-written.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from penstock.practice.clock import real_clock
from penstock.practice.faults import Fault, FaultKind
from penstock.practice.server import PracticeServer
from penstock.practice.synthetic import SyntheticCandles
from tests.forked import Done, ForkedPrograms
from tests.integration.pipeline.conftest import clean_environment
from tests.servers import DatabaseServers

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Home:
    """A home with a copy of the project's configuration and an empty database."""

    folder: Path
    database_url: str
    programs: ForkedPrograms

    @property
    def configs(self) -> Path:
        return self.folder / "configs"


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, servers: DatabaseServers, forked: ForkedPrograms
) -> Home:
    home = Home(tmp_path_factory.mktemp("cli"), servers.migrated(), forked)
    shutil.copytree(ROOT / "configs", home.configs)
    universe = home.configs / "universe.yaml"
    universe.write_text(universe.read_text().replace("  workers: 4", "  workers: 4\n  attempts: 2"))
    return home


@pytest.fixture(scope="module")
def venue() -> Iterator[PracticeServer]:
    """A practice exchange with two symbols."""
    with PracticeServer(
        SyntheticCandles(("BTC/USDT", "ETH/USDT"), minutes=False), real_clock()
    ) as server:
        yield server


def run(place: Home, *arguments: str, **environment: str) -> Done:
    settings = {
        "PENSTOCK_HOME": str(place.folder / "home"),
        "PENSTOCK_CONFIGS": str(place.configs),
        "PENSTOCK_ENV": "practice",
        "PENSTOCK_DATABASE_URL": place.database_url,
    }
    return place.programs.run(
        "penstock",
        *arguments,
        environment={**clean_environment(), **settings, **environment},
        folder=place.folder,
    )


def sentence_of(done: Done) -> str:
    """Return the error's sentence, having checked that it is all there is but for the alert above
    it.
    """
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    alert = ("alert at ", "    ")
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith(alert)]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def test_unknown_timeframe_lists_the_allowed_ones(place: Home) -> None:
    """A timeframe that nobody keeps is named together with those that exist."""
    said = sentence_of(run(place, "ingest", "-t", "7h"))
    assert "'7h'" in said
    assert "1m, 5m" in said


def test_unknown_symbol_suggests_the_near_one(place: Home, venue: PracticeServer) -> None:
    """A typo in a symbol is not a quiet market: the listed neighbour is named, and nothing is
    stored.
    """
    said = sentence_of(
        run(place, "ingest", "-t", "1d", "-s", "BTC/USDTT", PENSTOCK_PRACTICE_URL=venue.url)
    )
    assert "'BTC/USDTT'" in said
    assert "BTC/USDT" in said.split("did you mean")[1]
    status = run(place, "status", PENSTOCK_PRACTICE_URL=venue.url)
    assert "none stored" in status.stdout


def test_configuration_typo_names_file_and_key(place: Home, tmp_path: Path) -> None:
    """A key that does not exist stops the command before anything is done."""
    configs = Path(shutil.copytree(place.configs, tmp_path / "configs"))
    (configs / "costs.yaml").write_text("fee_bsp: 10\n")
    said = sentence_of(run(place, "research", PENSTOCK_CONFIGS=str(configs)))
    assert "costs.yaml" in said
    assert "fee_bsp" in said
    assert "fee_bps" in said


def test_database_that_is_down_names_the_address_but_no_password(place: Home) -> None:
    """The message has the address and the remedy, and never the password."""
    said = sentence_of(
        run(place, "status", PENSTOCK_DATABASE_URL="postgresql://me:hunter2@127.0.0.1:1/penstock")
    )
    assert "127.0.0.1:1" in said
    assert "hunter2" not in said


def test_venue_that_does_not_answer_is_named(place: Home) -> None:
    """A venue that is down ends the command with its name."""
    said = sentence_of(run(place, "ingest", "-t", "1d", PENSTOCK_PRACTICE_URL="http://127.0.0.1:1"))
    assert "binance" in said


def test_venue_that_answers_nonsense_is_an_error_and_stores_nothing(place: Home) -> None:
    """A venue whose answers cannot be read is unavailable, whatever its status code says."""
    nonsense = Fault(kind=FaultKind.MALFORMED, method="GET", path="/api/v3/exchangeInfo")
    with PracticeServer(
        SyntheticCandles(("BTC/USDT",), minutes=False), faults=(nonsense,)
    ) as server:
        said = sentence_of(
            run(place, "ingest", "-t", "1d", "-s", "BTC/USDT", PENSTOCK_PRACTICE_URL=server.url)
        )
    assert "binance" in said
    assert "none stored" in run(place, "status").stdout


def test_candle_file_with_wrong_columns_is_named(place: Home, tmp_path: Path) -> None:
    """The message names the file, the missing columns and the wanted ones."""
    pl.DataFrame({"time": [1], "price": [2.0]}).write_parquet(tmp_path / "wrong.parquet")
    said = sentence_of(run(place, "demo", "--candles", str(tmp_path)))
    assert "wrong.parquet" in said
    assert "open" in said


def test_rebalance_without_a_champion_says_what_to_do(place: Home, venue: PracticeServer) -> None:
    """Nothing trades that has not been promoted, and the message says how to promote."""
    done = run(place, "rebalance", PENSTOCK_PRACTICE_URL=venue.url)
    assert "register_as: daily-portfolio" in sentence_of(done)
    assert "'daily-portfolio' has no version or alias 'champion': promote one first" in done.stderr


def test_trade_without_a_champion_says_what_to_do(place: Home, venue: PracticeServer) -> None:
    """The service does not start, and no traceback of Prefect stands above the sentence."""
    error = sentence_of(run(place, "trade", PENSTOCK_PRACTICE_URL=venue.url))
    assert "'minute-portfolio' has no version or alias 'champion'" in error
    assert "penstock promote --study" in error
    assert "register_as: minute-portfolio" in error


@pytest.mark.parametrize(
    "command",
    ["demo", "ingest", "research", "promote", "rollback", "rebalance", "trade", "status", "halt"],
)
def test_help_teaches_with_an_example(place: Home, command: str) -> None:
    """Every command's help shows how it is called."""
    done = run(place, command, "--help")
    assert done.returncode == 0
    assert f"penstock {command}" in done.stdout.split("Example")[1]
