"""A strategy built anew from its source, so that nothing is left of what it was shown before.

What a strategy keeps (a scaler that it fitted, a cache of its module) would hide that it has seen
later bars. Its class is therefore taken from a new run of its module, and what that module imports
of its own package is loaded anew too. Three things are not reset: other libraries, files, and a
class whose module cannot be run again (of a notebook, a script, or of a function).
"""

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, ModuleType
from typing import Any

from penstock.core.strategy import Strategy


class FreshStrategy:
    """Builds a strategy anew, from the parameters of one that exists."""

    def __init__(self, strategy: Strategy) -> None:
        self._class = type(strategy)
        self._values = strategy.params.model_dump()
        self._code = _code_of(self._class)

    @property
    def is_reloaded(self) -> bool:
        """Whether its module is run again. If not, only the instance is new."""
        return self._code is not None

    @property
    def values(self) -> dict[str, Any]:
        """The parameters, by name."""
        return dict(self._values)

    @contextmanager
    def built(self, values: dict[str, Any] | None = None) -> Iterator[Strategy]:
        """Yield the strategy, by default with the parameters it has.

        As long as the context is open, an import of the strategy's own package finds the new
        modules. No other thread may import them meanwhile.
        """
        chosen = self._values if values is None else values
        if self._code is None:
            yield self._class.from_params(chosen)
            return
        name = self._class.__module__
        kept = {each: sys.modules[each] for each in _own_modules(name)}
        try:
            for each, module in kept.items():
                if not hasattr(module, "__path__"):  # packages stay: their parts hang on them
                    del sys.modules[each]
            found: Any = _run_again(kept[name], self._code)
            for part in self._class.__qualname__.split("."):
                found = getattr(found, part)
            yield found.from_params(chosen)
        finally:
            for each in _own_modules(name):
                del sys.modules[each]
            for each, module in kept.items():
                sys.modules[each] = module
                parent, _, child = each.rpartition(".")
                if parent in kept:
                    setattr(kept[parent], child, module)


def _own_modules(name: str) -> list[str]:
    """Return the loaded modules of the package of module `name`. Penstock's own are not renewed."""
    package = name.partition(".")[0]
    if package == "penstock":
        return [name]
    inner = f"{package}."
    return [each for each in sys.modules if each == package or each.startswith(inner)]


def _run_again(module: ModuleType, code: CodeType) -> ModuleType:
    """Return a new module of the same name that `code` was run in."""
    again = ModuleType(module.__name__)
    for name in ("__file__", "__package__", "__spec__", "__loader__", "__path__"):
        if hasattr(module, name):
            setattr(again, name, getattr(module, name))
    sys.modules[module.__name__] = again  # Pydantic resolves annotations through sys.modules
    exec(code, again.__dict__)
    return again


def _code_of(strategy: type[Strategy]) -> CodeType | None:
    """Return the code of a strategy's module; None where it cannot be run again."""
    module = sys.modules.get(strategy.__module__)
    if module is None or strategy.__module__ == "__main__" or "<locals>" in strategy.__qualname__:
        return None
    try:
        lines, _ = inspect.findsource(module)
        file = inspect.getsourcefile(module) or module.__name__
        return compile("".join(lines), file, "exec")
    except (OSError, TypeError, SyntaxError):
        return None
