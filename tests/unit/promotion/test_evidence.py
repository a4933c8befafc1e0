"""How thoroughly a candidate is checked against lookahead before the gate sees it."""

import pytest

from penstock.promotion import evidence
from penstock.research.engine.costs import Costs
from penstock.research.engine.results import SearchSettings
from penstock.research.search.runner import search
from strategies.inverse_volatility import InverseVolatility
from tests.unit.research.conftest import random_walk

BARS = 200


def test_few_bars_are_cut_at_every_one_and_many_at_a_drawn_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Up to MAX_CUTS instants each is a cut, once the strategy is warm. Above it that many are
    drawn, and the last but one is always among them.
    """
    bars = random_walk(symbols=2, bars=BARS)
    found = search(bars, InverseVolatility, Costs(), SearchSettings(trials=1))
    warmup = InverseVolatility.from_params(dict(found.best_params)).warmup_bars
    totals: set[int] = set()

    def gathered() -> set[int]:
        totals.clear()
        kept = evidence.gather_evidence(
            found, InverseVolatility, bars, on_cut=lambda _, total: totals.add(total)
        )
        assert kept.leaks == ()
        return totals

    monkeypatch.setattr(evidence, "MAX_CUTS", BARS)
    assert gathered() == {BARS - warmup - 1}
    monkeypatch.setattr(evidence, "MAX_CUTS", 5)
    assert gathered() <= {5, 6}
    assert len(totals) == 1
