"""The rows of each symbol's own bars, without those of the other symbols only.

An indicator over 20 bars counts 20 bars of the symbol, whatever is missing between them: as a
window over the rows of a long frame does.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class OwnRows:
    """Where the bars of each column are, one piece for each row of bars without a hole."""

    shape: tuple[int, int]
    """(rows, columns) of the panel."""
    pieces: tuple[tuple[int, int, int, int], ...]
    """Column, first row, row after the last, and the piece's place among the column's bars."""

    @property
    def complete(self) -> bool:
        """Whether every column has a bar in every row."""
        rows, columns = self.shape
        return len(self.pieces) == columns and all(p[1:3] == (0, rows) for p in self.pieces)

    def packed(self, values: Matrix) -> Matrix:
        """Return the values with the bars of each column at the top, and NaN under them."""
        out = np.full(self.shape, np.nan)
        for column, first, stop, place in self.pieces:
            out[place : place + stop - first, column] = values[first:stop, column]
        return out

    def spread(self, packed: Matrix) -> Matrix:
        """Return packed values at the rows of the bars, and NaN where there is no bar."""
        out = np.full(self.shape, np.nan)
        for column, first, stop, place in self.pieces:
            out[first:stop, column] = packed[place : place + stop - first, column]
        return out


def own_rows(present: Mask) -> OwnRows:
    """Return where the bars are, by a mask of shape (rows, columns)."""
    rows, columns = present.shape
    if present.all():
        return OwnRows((rows, columns), tuple((k, 0, rows, 0) for k in range(columns)))
    edge = np.zeros((1, columns), dtype=np.int8)
    steps = np.diff(np.concatenate([edge, present.astype(np.int8), edge]), axis=0)
    pieces = []
    for k in range(columns):
        place = 0
        bounds = np.flatnonzero(steps[:, k]).tolist()
        for first, stop in list(pairwise(bounds))[::2]:
            pieces.append((k, first, stop, place))
            place += stop - first
    return OwnRows((rows, columns), tuple(pieces))
