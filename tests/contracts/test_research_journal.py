"""What every ResearchJournal promises: the one in PostgreSQL, and the one in memory."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from penstock.adapters.stores.postgres import Database, PostgresResearchJournal
from penstock.core.actors import Actor, Channel
from penstock.core.looks import BarRange, Exposure, Look, LookKind, exposure_of
from penstock.core.timeframes import Timeframe
from penstock.ports import ResearchJournal
from penstock.testing.memory_journal import MemoryResearchJournal

START = datetime(2024, 1, 1, tzinfo=UTC)
ANA = Actor("ana", Channel.NOTEBOOK)


@pytest.fixture
def journal(tier: str, request: pytest.FixtureRequest) -> ResearchJournal:
    if tier == "memory":
        return MemoryResearchJournal()
    database: Database = request.getfixturevalue("database")
    return PostgresResearchJournal(database)


def days(
    venue: str, first: int, last: int, *symbols: str, timeframe: Timeframe = Timeframe.D1
) -> BarRange:
    step = timeframe.duration
    return BarRange(
        venue, timeframe, symbols or ("BTC",), START + first * step, START + last * step
    )


def look(bars: BarRange, kind: LookKind = LookKind.SEARCH) -> Look:
    return Look(kind, bars, "d" * 64, "trend", ANA, START)


def test_look_is_kept_with_who_what_and_where(journal: ResearchJournal, name: str) -> None:
    """One that was not ended, by a crash, is among them with what it had tried until then."""
    first, second = look(days(name, 0, 9, "BTC", "ETH")), look(days(name, 3, 4), LookKind.GATE)
    number, interrupted = journal.begin(first), journal.begin(second)
    journal.add(number, ["a", "b"])
    journal.add(number, ["b", "c"])
    journal.add(number, [])
    journal.add(interrupted, ["z"])
    journal.end(number, 4, {"sharpe": 1 / 3, "infinite": float("inf")})
    newest, before = journal.newest(2)
    assert (newest.look, newest.configurations, newest.trials, newest.best) == (second, 1, None, {})
    assert (before.look, before.configurations, before.trials) == (first, 3, 4)
    assert before.best == {"sharpe": 1 / 3, "infinite": float("inf")}


def test_the_same_configuration_counts_once_over_all_overlapping_bars(
    journal: ResearchJournal, name: str
) -> None:
    """Again on grown data it is no new one. Other venues, timeframes, symbols and times are other
    bars; one common symbol and one common bar are enough.
    """
    for bars, tried in (
        (days(name, 0, 99), ["a", "b"]),
        (days(name, 0, 120), ["a", "b", "c"]),
        (days(f"{name}-other", 0, 120), ["d"]),
        (days(name, 0, 120, timeframe=Timeframe.H4), ["e"]),
        (days(name, 0, 120, "SOL"), ["f"]),
        (days(name, 121, 150), ["g"]),
        (days(name, 0, 120, "ADA", "BTC"), ["h"]),
    ):
        journal.add(journal.begin(look(bars)), tried)
    assert journal.tried(days(name, 0, 120)) == 4
    assert journal.tried(days(name, 100, 120)) == 4
    assert journal.tried(days(name, 120, 121)) == 5
    assert journal.tried(days(name, 200, 300)) == 0
    assert journal.tried(days(name, 5, 6, "SOL")) == 1


def test_exposure_is_the_share_of_the_window_that_others_have_seen(
    journal: ResearchJournal, name: str
) -> None:
    window = days(name, 100, 199)
    assert journal.exposure(window) == Exposure({}, None)
    journal.add(journal.begin(look(days(name, 0, 109))), ["a", "b"])
    journal.add(journal.begin(look(days(name, 90, 149), LookKind.GATE)), ["a"])
    journal.add(journal.begin(look(days(name, 200, 400), LookKind.GATE)), ["later"])
    seen = journal.exposure(window)
    assert dict(seen.shares) == pytest.approx({"a": 0.5, "b": 0.1})
    assert seen.seen_until == START + timedelta(days=150)
    assert seen.spent("a") == pytest.approx(0.1)
    assert seen.spent("c") == pytest.approx(0.6)
    assert seen.fresh_share(window) == pytest.approx(0.5)


def test_counts_follow_the_rules_whatever_the_looks(journal: ResearchJournal, name: str) -> None:
    """Fifty looks at random bars: the store counts what the rules of penstock.core.looks count."""
    draw, kept = random.Random(5), []
    for _ in range(50):
        first = draw.randrange(200)
        symbols = draw.sample(["BTC", "ETH", "SOL"], draw.randint(1, 2))
        bars = days(name, first, first + draw.randrange(80), *sorted(symbols))
        tried = {str(draw.randrange(30)) for _ in range(draw.randrange(4))}
        journal.add(journal.begin(look(bars)), tried)
        kept.append((bars, tried))
    for first, last in ((0, 10), (50, 50), (40, 180), (0, 400), (279, 279)):
        asked = days(name, first, last, "ETH")
        counted = {each for bars, tried in kept if bars.overlaps(asked) for each in tried}
        assert journal.tried(asked) == len(counted)
        found, expected = journal.exposure(asked), exposure_of(asked, kept)
        assert found.seen_until == expected.seen_until
        assert dict(found.shares) == pytest.approx(dict(expected.shares))
