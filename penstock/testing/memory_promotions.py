"""A PromotionStore in memory, for tests and notebooks."""

from penstock.promotion.gate import CandidateStatus
from penstock.promotion.records import Judgement


class MemoryPromotionStore:
    """Judgements in the order in which they were saved."""

    def __init__(self) -> None:
        self.saved: list[Judgement] = []

    def save_judgement(self, judgement: Judgement) -> None:
        """Append a judgement."""
        self.saved.append(judgement)

    def passed_hashes(self, model: str, version: str) -> frozenset[str]:
        """Return the content hashes with which the gate has let a version pass."""
        return frozenset(
            each.content_hash
            for each in self.saved
            if (each.model, each.version) == (model, version)
            and each.gate.decision is not CandidateStatus.REJECTED
        )
