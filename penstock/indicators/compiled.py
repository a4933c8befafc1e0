"""Loops that numba compiles where it is installed, and that Python runs as they stand where not.

Both do the same operations in the same order, so both give the same digits. Trading works on some
hundred rows and needs no compiler; a search works on millions and does (extra `search`).
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

#: Whether loops are compiled.
COMPILES = find_spec("numba") is not None


class _Compiled(Generic[P, R]):
    """A function that is compiled when it is first called: to import it costs nothing."""

    def __init__(self, function: Callable[P, R]) -> None:
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.source = function
        self._run: Callable[P, R] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        run = self._run
        if run is None:
            run = self._run = _machine_code(self.source) if COMPILES else self.source
        return run(*args, **kwargs)


def compiled(function: Callable[P, R]) -> _Compiled[P, R]:
    """Return the function, compiled when it is first called.

    It may call no other compiled function.
    """
    return _Compiled(function)


def _machine_code(function: Callable[P, R]) -> Callable[P, R]:
    from numba import njit

    # Kept beside the source: later processes load it. No fast maths: Python gives the same digits.
    made: Callable[P, R] = njit(cache=True, nogil=True)(function)
    return made
