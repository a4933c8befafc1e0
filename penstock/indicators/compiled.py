"""Loops that numba compiles where it is installed, and that Python runs as they stand where not.

Both do the same operations in the same order, so both give the same digits. A slot works on some
thousand numbers and needs no compiler; a search works on millions and does (extra `search`).
"""

import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Generic, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
P = ParamSpec("P")
R = TypeVar("R")


def _has_numba() -> bool:
    try:
        return find_spec("numba") is not None
    except ModuleNotFoundError:  # a finder that refuses it
        return False


#: Whether numba is installed.
COMPILES = _has_numba()

#: So many numbers are done by Python before numba is imported, which takes half a second. A slot in
#: a process of its own has fewer.
_FEW = 100_000
_done = 0


def compiles(numbers: int) -> bool:
    """Return whether a loop over so many numbers is compiled."""
    global _done  # noqa: PLW0603  # how much this process has done
    if not COMPILES:
        return False
    if "numba" in sys.modules:
        return True
    _done += numbers
    return _done > _FEW


def begin_compiling() -> bool:
    """Have every loop compiled from here on, however few its numbers; return whether it can be."""
    if COMPILES:
        import numba  # noqa: F401
    return COMPILES


class Compiled(Generic[P, R]):
    """A function whose first argument is an array. It is compiled when there is enough to do."""

    def __init__(self, function: Callable[P, R]) -> None:
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.source = function
        self._machine_code: Callable[P, R] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if not compiles(np.size(args[0])):  # type: ignore[arg-type]  # an array
            return self.source(*args, **kwargs)
        if self._machine_code is None:
            from numba import njit

            # Kept beside the source for later processes. No fast maths: Python's digits.
            self._machine_code = njit(cache=True, nogil=True)(self.source)
        return self._machine_code(*args, **kwargs)


def compiled(function: Callable[P, R]) -> Compiled[P, R]:
    """Return the function, compiled when it is first called with enough to do.

    It may call no other compiled function.
    """
    return Compiled(function)


def given(values: Matrix) -> Matrix:
    """Return the values as compiled loops take them: read-only, row after row.

    Each other form of an array would be compiled for itself.
    """
    view = np.ascontiguousarray(values, dtype=np.float64).view()
    view.flags.writeable = False
    return view
