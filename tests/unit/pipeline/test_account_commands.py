"""What the commands about an account print, over an account in memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from penstock.core.actors import Actor, Channel
from penstock.core.halts import TradingState
from penstock.core.looks import BarRange, Look, LookKind
from penstock.core.rebalances import RebalanceStatus
from penstock.core.timeframes import Timeframe
from penstock.interfaces.cli import account, app, models, trading
from penstock.testing.instruments import SLOT
from penstock.testing.memory_journal import MemoryResearchJournal
from penstock.wiring import Platform
from tests.unit.pipeline.conftest import ACCOUNT, MODEL, Place

DAY = timedelta(days=1)
Run = Callable[..., Result]


@pytest.fixture
def run(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command on the account in memory, in a home that never had a stack."""
    monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PENSTOCK_ENV", raising=False)

    @contextmanager
    def opened() -> Iterator[Platform]:
        yield place.platform

    for module in (account, models, trading):
        monkeypatch.setattr(module, "opened_platform", opened)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments))

    return invoke


def in_one_line(shown: Result) -> str:
    """The output without the line breaks of a narrow terminal."""
    return " ".join(shown.output.split())


def test_slots_are_listed_newest_first(place: Place, run: Run) -> None:
    """As many as are asked for."""
    place.ended(SLOT - DAY, RebalanceStatus.FAILED)
    place.ended(SLOT)
    shown = run("slots")
    assert shown.exit_code == 0, shown.output
    assert shown.output.index("done") < shown.output.index("failed")
    assert "failed" not in run("slots", "--limit", "1").output


def test_reconcile_locks_what_differs_and_breaks_says_what_to_do(place: Place, run: Run) -> None:
    """Exit code 1 while a break is open."""
    place.ended(SLOT - DAY)  # a ledger that knows nothing of the venue's 10,000 USDT
    found = run("reconcile")
    assert found.exit_code == 1
    assert "1 open break locks USDT" in in_one_line(found)
    listed = run("breaks")
    assert listed.exit_code == 0, listed.output
    assert "penstock accept-break USDT" in in_one_line(listed)
    assert "deposit" in run("breaks", "--history").output


def test_portfolio_that_traded_nothing_names_the_others_that_have(
    place: Place, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the option that shows them. Nothing is said of a portfolio that has traded, nor where
    none has.
    """
    sentence = "has traded nothing here; others have: `-p daily`"
    assert "others have" not in run("slots", "-p", "first-day").output
    place.ended(SLOT)
    ledger = place.world.ledger
    slots = ledger.rebalances
    monkeypatch.setattr(
        ledger, "rebalances", lambda name, limit=100: slots(name, limit) if name == ACCOUNT else []
    )
    for command in (("slots",), ("breaks",), ("positions",), ("positions", "--json")):
        assert sentence in in_one_line(run(*command, "-p", "first-day")), command
        assert "others have" not in run(*command).output


def test_halt_is_said_and_set(place: Place, run: Run) -> None:
    """A reason is asked for."""
    assert run("halt").exit_code != 0
    halted = run("halt", "--reason", "venue hacked")
    assert halted.exit_code == 0, halted.output
    assert place.world.control_store.trading_state(ACCOUNT).state is TradingState.HALTED


def test_rollback_names_what_serves_now(place: Place, run: Run) -> None:
    """The version before serves again."""
    first = place.promoted(30)
    second = place.promoted(40)
    place.registry.move_alias(MODEL, "previous", first)
    shown = run("rollback")
    assert shown.exit_code == 0, shown.output
    assert first in shown.output
    assert _serving(place) == first != second


def test_journal_shows_who_looked_at_what(place: Place, run: Run) -> None:
    """Newest first, with the best figures; a search that was killed is there without any."""
    journal = MemoryResearchJournal()
    place.platform.research_journal = journal
    empty = run("journal")
    assert empty.exit_code == 0, empty.output
    bars = BarRange("practice", Timeframe.D1, ("BTC/USDT", "ETH/USDT"), SLOT - 9 * DAY, SLOT)
    for name, at in (("ana", SLOT), ("ben", SLOT + DAY)):
        look = Look(LookKind.SEARCH, bars, "", "momentum", Actor(name, Channel.NOTEBOOK), at)
        number = journal.begin(look)
        journal.add(number, {"a", "b"})
        if name == "ana":
            journal.end(number, 3, {"sharpe": 1.25})
    shown = CliRunner(env={"COLUMNS": "250"}).invoke(app, ["journal"]).output
    assert shown.index("ben (notebook)") < shown.index("ana (notebook)")
    assert "sharpe 1.25" in shown
    assert "not ended" in shown
    assert "ana" not in CliRunner().invoke(app, ["journal", "--last", "1"]).output


def _serving(place: Place) -> str:
    found = place.registry.find(MODEL, "champion")
    assert found is not None
    return found.version
