"""A year of nightly searches and weekly gates uses up neither its trials nor its looks.

The schedule is the shipped one: what is tried and looked at is counted as it would be, and nothing
is simulated. docs/decisions/0018 has the figures.
"""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from penstock.core.actors import Actor, Channel
from penstock.core.looks import BarRange, Look, LookKind
from penstock.core.timeframes import Timeframe
from penstock.promotion.criteria import PromotionThresholds
from penstock.research.engine.metrics import expected_best_sharpe
from penstock.research.search.settings import SearchSettings
from penstock.research.validation.splits import split_in_two
from penstock.testing.memory_journal import MemoryResearchJournal

FIRST = datetime(2020, 1, 1, tzinfo=UTC)
FLOW = Actor("worker", Channel.FLOW)
STRATEGIES, TRIALS = 4, 50  # configs/research.yaml: daily


@dataclass
class Schedule:
    """The nightly search and the weekly gate of one study, in counts."""

    settings: SearchSettings
    journal: MemoryResearchJournal = field(default_factory=MemoryResearchJournal)
    seen: BarRange | None = None

    def bars(self, first: int, last: int) -> BarRange:
        day = timedelta(days=1)
        return BarRange("v", Timeframe.D1, ("BTC",), FIRST + first * day, FIRST + last * day)

    def record(self, kind: LookKind, bars: BarRange, tried: set[str]) -> None:
        look = Look(kind, bars, "", "", FLOW, bars.end)
        self.journal.add(self.journal.begin(look), tried)

    def search(self, days: int) -> BarRange:
        """Search by night; return the bars out of sample.

        The quasi-random half is the same each night. The other half depends on the bars in sample:
        where they are those of the night before, nothing is tried that was not tried then.
        """
        s = self.settings
        split = split_in_two(days, s.oos_fraction, s.purge_bars, s.split_step)
        self.seen, before = self.bars(0, split.in_sample_stop - 1), self.seen
        window = self.bars(split.out_of_sample_first, days - 1)
        if self.seen == before:
            return window
        halves = ("plan-{}-{}", f"tpe-{split.in_sample_stop}-{{}}-{{}}")
        tried = {
            half.format(strategy, trial)
            for half in halves
            for strategy in range(STRATEGIES)
            for trial in range(TRIALS // 2)
        }
        self.record(LookKind.SEARCH, self.seen, tried)
        return window

    def gate(self, window: BarRange) -> float:
        """Judge the choice; return the looks that the bars out of sample have had then.

        What it chose depends on the bars in sample: it is one of the trials that were made there.
        """
        choice = f"tpe-{(window.first - FIRST).days - self.settings.purge_bars}-0-0"
        looks = self.journal.exposure(window).spent(choice) + 1
        self.record(LookKind.GATE, window, {choice})
        return looks

    def run(self, history: int, days: int) -> tuple[int, float]:
        """Return the count that deflates at the end, and the most looks of any week."""
        most = 0.0
        for day in range(days):
            window = self.search(history + day)
            if day % 7 == 0:
                most = max(most, self.gate(window))
        assert self.seen is not None
        return self.journal.tried(self.seen), most


def asked_sharpe(tried: int, in_sample_days: int) -> float:
    """Return the Sharpe ratio per year whose deflated probability is 0.95, about."""
    deviation = 1 / math.sqrt(in_sample_days / 365)
    return deviation * (expected_best_sharpe(1.0, tried) + 1.645)


@pytest.mark.parametrize("history", [300, 730, 1826])
def test_shipped_schedule_does_not_starve_itself(history: int) -> None:
    """Over two years of it the gate always has a look left, more than half of them, and the Sharpe
    ratio that the count asks for never rises by more than the longer history takes back.
    """
    tried, most = Schedule(SearchSettings()).run(history, 2 * 365)
    allowed = PromotionThresholds().max_out_of_sample_looks
    assert allowed is not None
    assert most < allowed / 2
    assert 200 < tried < 4000
    before = asked_sharpe(200, round(0.7 * history))
    assert asked_sharpe(tried, round(0.7 * (history + 730))) < before


def test_schedule_that_moves_its_split_each_night_would_starve() -> None:
    """What the steps of the split are for: bar by bar the looks are used up within the first half
    year, and a hundred new trials come each night.
    """
    nightly = Schedule(SearchSettings(split_step=0.0))
    tried, most = nightly.run(1826, 182)
    allowed = PromotionThresholds().max_out_of_sample_looks
    assert allowed is not None
    assert most > 2 * allowed
    assert tried > 10_000
