"""What the evidence says of a candidate that sees later bars, or remembers too long."""

from pathlib import Path

from pydantic import Field

from penstock.core.strategy import Strategy
from penstock.data.snapshots import Snapshot
from penstock.pipeline.research import ResearchOutcome
from penstock.promotion.criteria import PromotionThresholds
from penstock.promotion.evidence import Evidence, gather_evidence
from penstock.promotion.gate import CandidateStatus, refused_unopened
from penstock.research.engine.costs import Costs
from penstock.research.engine.results import SearchSettings
from penstock.research.search.runner import search
from strategies.inverse_volatility import InverseVolatility
from tests.honesty import leaks
from tests.unit.research.conftest import random_walk

BARS = random_walk(symbols=2, bars=200)


class NextClose(leaks.PlantedPanel):
    """Buys what closes higher on the next bar."""

    class Params(leaks.Planted.Params):
        plan: str = "next_of_indicator"
        tried: int = Field(1, ge=1, le=2)


class LongMean(leaks.PlantedPanel):
    """A moving average whose warm-up is too short."""

    class Params(leaks.Planted.Params):
        plan: str = "long_mean"
        tried: int = Field(1, ge=1, le=2)


def _gathered(strategy: type[Strategy]) -> tuple[ResearchOutcome, list[tuple[int, int]]]:
    seen: list[tuple[int, int]] = []
    found = search(BARS, strategy, Costs(), SearchSettings(trials=1))
    evidence = gather_evidence(
        found, strategy, BARS, lambda done, total: seen.append((done, total))
    )
    first, last = BARS["ts"][0], BARS["ts"][-1]
    snapshot = Snapshot(
        "d" * 64, Path("none"), "x", found.timeframe, found.symbols, BARS.height, first, last
    )
    return ResearchOutcome("run-1", snapshot, found, evidence), seen


def _failed(evidence: Evidence) -> dict[str, str]:
    gate = refused_unopened(evidence, PromotionThresholds())  # these bars are too few at least
    assert gate is not None
    assert gate.decision is CandidateStatus.REJECTED
    names = ("no_lookahead", "bounded_memory")
    return {v.criterion: v.reason for v in gate.failures if v.criterion in names}


def test_honest_choice_has_an_empty_list_of_both_and_progress_was_told() -> None:
    """Empty is "nothing found", which is another thing than None, "not looked for"."""
    outcome, seen = _gathered(InverseVolatility)
    assert outcome.evidence.leaks == ()
    assert outcome.evidence.memory_excess == ()
    assert seen[-1][0] == seen[-1][1]
    assert _failed(outcome.evidence) == {}
    assert outcome.summary().startswith("best of 1 trials")


def test_peek_and_long_memory_are_two_verdicts_and_both_block() -> None:
    """The gate, and research before it, name symbol, bar, and the weight before and after."""
    outcome, _ = _gathered(NextClose)
    peek = _failed(outcome.evidence)
    assert set(peek) == {"no_lookahead"}
    assert peek["no_lookahead"].startswith("sees later bars: ")
    assert "/USDT at 2021-" in peek["no_lookahead"]
    assert " becomes " in peek["no_lookahead"]
    assert outcome.summary().startswith(
        f"no_lookahead FAILED: planted_panel {peek['no_lookahead']}. best of 1 trials"
    )
    memory = _failed(_gathered(LongMean)[0].evidence)
    assert set(memory) == {"bounded_memory"}
    assert memory["bounded_memory"].startswith("remembers longer than its warm-up: ")
    assert memory["bounded_memory"].endswith("its warm-up is 10, 39 would do")
