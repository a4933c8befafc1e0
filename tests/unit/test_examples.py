"""The examples in docstrings run, and the public surface has some."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: What a user of the library begins with.
PUBLIC = {
    "penstock.core.strategy",
    "penstock.core.extras",
    "penstock.ports",
    "penstock.research.engine.backtest",
    "penstock.research.engine.costs",
    "penstock.research.search.runner",
}
WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for folder in ("penstock", "strategies")
    for path in (ROOT / folder).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


def test_public_surface_has_examples() -> None:
    """Strategy, backtest, search, costs and the ports show how they are used."""
    assert set(WITH_EXAMPLES) >= PUBLIC


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_run(module: str) -> None:
    """Every example of a docstring gives what it says it gives."""
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
