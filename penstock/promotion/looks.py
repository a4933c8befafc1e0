"""What the gate's looks cost: which bars a candidate was tried on, and how often they were seen.

The rules of counting are in penstock.core.looks. Why the shipped schedule does not use up its looks
is in docs/decisions/0018.
"""

from dataclasses import dataclass

from penstock.core.looks import BarRange, LookKind
from penstock.core.strategy import Strategy
from penstock.promotion.criteria import CriterionResult, PromotionThresholds
from penstock.promotion.evidence import Evidence
from penstock.research.canonical_source import configuration_of
from penstock.research.journal import LookRecorder, OpenLook
from penstock.research.search.deflation import deflated

_NAME = "out_of_sample_looks"


@dataclass(frozen=True)
class GateLooks:
    """The journal, as the gate reads and writes it."""

    recorder: LookRecorder
    """Who judges, and where it is written."""

    def counted(self, evidence: Evidence) -> Evidence:
        """Return the evidence, deflated by all looks at the searched bars up to now.

        Others may have looked at them since the search.
        """
        seen = self._searched(evidence)
        tried = self.recorder.journal.tried(seen)
        known = evidence.model_copy(update={"tried": tried})
        figure = deflated(evidence.in_sample, seen.first, seen.last, known.looks)
        return known.model_copy(update={"deflated_sharpe": figure})

    def verdict(
        self, evidence: Evidence, candidate: Strategy, thresholds: PromotionThresholds
    ) -> CriterionResult:
        """Looks that others had at the bars out of sample + 1 <= max_out_of_sample_looks."""
        window, bound = self._window(evidence), thresholds.max_out_of_sample_looks
        seen = self.recorder.journal.exposure(window)
        looks = seen.spent(configuration_of(candidate)) + 1
        found = (
            f"with this one the bars out of sample have had {looks:.3g} looks, and "
            f"{seen.fresh_share(window):.0%} of them are newer than the last one"
        )
        if bound is None:
            return CriterionResult(_NAME, True, looks, None, f"{found}: not judged", judged=False)
        if looks <= bound:
            return CriterionResult(_NAME, True, looks, bound, f"{found}; {bound:.3g} are allowed")
        reason = (
            f"{found}; {bound:.3g} are allowed: wait for new bars, or search with an "
            "oos_fraction that leaves the seen bars in sample"
        )
        return CriterionResult(_NAME, False, looks, bound, reason)

    def spend(self, evidence: Evidence, candidate: Strategy, about: str) -> OpenLook:
        """Record the gate's look before the bars are opened."""
        look = self.recorder.begin_at(
            LookKind.GATE, self._window(evidence), about, evidence.dataset_hash
        )
        look.add([configuration_of(candidate)])
        return look

    def _searched(self, evidence: Evidence) -> BarRange:
        before = (evidence.in_sample.bars - 1) * evidence.timeframe.duration
        first = evidence.in_sample_start or evidence.in_sample_end - before
        return BarRange(
            self.recorder.venue,
            evidence.timeframe,
            evidence.symbols,
            first,
            evidence.in_sample_end,
        )

    def _window(self, evidence: Evidence) -> BarRange:
        return BarRange(
            self.recorder.venue,
            evidence.timeframe,
            evidence.symbols,
            evidence.out_of_sample_start,
            evidence.out_of_sample_end,
        )


def uncounted(thresholds: PromotionThresholds) -> CriterionResult:
    """Return the verdict where no journal counts the looks."""
    bound = thresholds.max_out_of_sample_looks
    reason = "no journal counts the looks at the bars out of sample: not judged"
    return CriterionResult(_NAME, True, None, bound, reason, judged=False)
