"""What indicators gave, kept for the next who asks: bounded in bytes, the oldest use goes first."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

#: Values that cannot change, so that equal ones mean the same thing tomorrow.
_CONSTANTS = (int, float, str, bool, bytes, type(None))
#: The types of functions that numba, Cython (TA-Lib) and NumPy compiled.
_COMPILED = ("CPUDispatcher", "cython_function_or_method", "ufunc")


class IndicatorCache:
    """Read-only arrays by key, at most `bytes_kept` of them in all. Threads may share it.

    What is larger than the whole is not kept. Two threads that miss at once both compute.
    """

    def __init__(self, bytes_kept: int) -> None:
        self.bytes_kept = bytes_kept
        self.held = 0
        self._found: OrderedDict[Hashable, tuple[Matrix, ...]] = OrderedDict()
        self._keys: dict[int, tuple[Hashable, int]] = {}
        self._lock = threading.Lock()

    def get(
        self, key: Hashable | None, compute: Callable[[], tuple[Matrix, ...]]
    ) -> tuple[Matrix, ...]:
        """Return the arrays of `key`, computed where they are not kept. None is never kept."""
        if key is None:
            return _read_only(compute())
        with self._lock:
            found = self._found.get(key)
            if found is not None:
                self._found.move_to_end(key)
                return found
        made = _read_only(compute())
        self._keep(key, made)
        return made

    def key_of(self, values: Matrix) -> Hashable | None:
        """Return the key of an array that came from here and is still kept, else None."""
        with self._lock:
            # What is kept lives, so no other array has its id.
            return self._keys.get(id(values))

    def _keep(self, key: Hashable, made: tuple[Matrix, ...]) -> None:
        size = sum(array.nbytes for array in made)
        if size > self.bytes_kept:
            return
        with self._lock:
            if key in self._found:
                return
            self._found[key] = made
            self._keys.update({id(array): (key, place) for place, array in enumerate(made)})
            self.held += size
            while self.held > self.bytes_kept:
                _, oldest = self._found.popitem(last=False)
                for array in oldest:
                    del self._keys[id(array)]
                self.held -= sum(array.nbytes for array in oldest)


def call_key(function: Callable[..., Any], *arguments: object) -> Hashable | None:
    """Return a key for a call, None where its result must not be kept.

    A method, a function made inside another one, and an argument that may change would give another
    result under the same key.
    """
    if not _is_constant_function(function):
        return None
    parts = [_constant(argument) for argument in arguments]
    return None if any(part is None for part in parts) else (function, *parts)


def _is_constant_function(function: object) -> bool:
    """Return whether it is a function of a module, which gives the same for the same arguments.

    What it closes over must be constant as well: TA-Lib's are wrapped.
    """
    owner = getattr(function, "__self__", None)
    if owner is not None and not isinstance(owner, ModuleType):  # a method
        return False
    plain = isinstance(function, FunctionType | BuiltinFunctionType)
    if not plain and type(function).__name__ not in _COMPILED:
        return False
    name = getattr(function, "__qualname__", "")
    if "<locals>" in name or "<lambda>" in name:
        return False
    inside = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    return all(isinstance(each, _CONSTANTS) or _is_constant_function(each) for each in inside)


def _constant(value: object) -> Hashable | None:
    """Return a value with its type (1 is not 1.0 is not True); None where it may change."""
    if isinstance(value, tuple):
        parts = tuple(_constant(part) for part in value)
        return None if any(part is None for part in parts) else parts
    return (type(value), value) if isinstance(value, _CONSTANTS) else None


def _read_only(made: tuple[Matrix, ...]) -> tuple[Matrix, ...]:
    for array in made:
        array.setflags(write=False)
    return made
