"""A PromotionStore in memory, for tests and notebooks."""

from datetime import datetime

from penstock.promotion.gate import CandidateStatus
from penstock.promotion.records import Judgement


class MemoryPromotionStore:
    """Choices, and judgements in the order in which they were saved."""

    def __init__(self) -> None:
        self.choices: set[str] = set()
        self.saved: list[Judgement] = []

    def save_choice(self, content_hash: str, search_id: str, at: datetime) -> None:
        """Keep the hash of what a search chose."""
        self.choices.add(content_hash)

    def is_choice(self, content_hash: str) -> bool:
        """Return whether a search chose this content."""
        return content_hash in self.choices

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
