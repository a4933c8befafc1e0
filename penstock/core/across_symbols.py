"""Comparisons across the symbols of a row. One whose bar is late takes part with its last score.

A late bar is not a vanished coin: the equity that it stands for is not shared out among the others.
"""

from abc import ABC, abstractmethod

from penstock.core.named_indicators import Matrix
from penstock.indicators import across


class AcrossSymbols(ABC):
    """What a panel says of the scores of all symbols at one bar.

    `scores` is of shape (bars, symbols); a symbol whose score is NaN takes no part.

    >>> import numpy as np
    >>> from penstock.core.panel_frames import panel_of_closes
    >>> panel = panel_of_closes({"A": [1.0, 4.0], "B": [2.0, 3.0]})
    >>> panel.rank(panel.close).tolist()
    [[2.0, 1.0], [1.0, 2.0]]
    >>> panel.total(panel.close).ravel().tolist()
    [3.0, 7.0]
    """

    @abstractmethod
    def counted(self, scores: Matrix) -> Matrix:
        """Return the scores, and where a symbol's bar is late its last score."""

    def rank(self, scores: Matrix) -> Matrix:
        """Return the rank of each symbol's score, 1 for the highest; equal ones by symbol."""
        return across.rank(self.counted(scores))

    def count(self, scores: Matrix) -> Matrix:
        """Return how many symbols have a score, of shape (bars, 1); NaN where none has."""
        return across.count(self.counted(scores))

    def total(self, scores: Matrix) -> Matrix:
        """Return the sum of all scores, of shape (bars, 1); NaN where there is none."""
        return across.total(self.counted(scores))

    def mean(self, scores: Matrix) -> Matrix:
        """Return the mean of all scores, of shape (bars, 1); NaN where there is none."""
        return self.total(scores) / self.count(scores)
