"""A strategy built anew from its source, so that nothing is left of what it was shown before.

What a strategy keeps (a scaler that it fitted, a cache of its module) would hide that it has seen
later bars. Its class is therefore taken from a new run of its module, and what that module imports
of its own package is loaded anew too. Not reset are other libraries, files, what a package keeps in
its __init__.py, and a class whose module cannot be run again: of a notebook, a script or a
function. Of such a class only the instance is new.
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
        _forget([each for each in kept if not hasattr(kept[each], "__path__")])
        try:
            found: Any = _run_again(kept[name], self._code)
            for part in self._class.__qualname__.split("."):
                found = getattr(found, part)
            yield found.from_params(chosen)
        finally:
            _forget(_own_modules(name))
            sys.modules.update(kept)
            for each, module in kept.items():
                parent, _, child = each.rpartition(".")
                if parent in kept:
                    setattr(kept[parent], child, module)


def _forget(modules: list[str]) -> None:
    """Take modules out of the table of modules, and off their packages."""
    for each in modules:
        parent, _, child = each.rpartition(".")
        if parent in sys.modules:
            vars(sys.modules[parent]).pop(child, None)
    for each in modules:
        del sys.modules[each]


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
