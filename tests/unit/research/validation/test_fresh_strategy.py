"""A strategy that is built anew knows nothing of what its class was shown before."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from penstock.adapters.mlflow.content import StrategySource, class_of
from penstock.core.errors import StrategyError
from penstock.core.strategy import Strategy
from penstock.research.validation.fresh_strategy import FreshStrategy
from strategies.momentum import Momentum

SOURCE = '''
from functools import cache

import numpy as np

from penstock.core.strategy import Strategy, StrategyParams
from my_fund.kept import SEEN

LOCAL = []


class Counting(Strategy):
    """Weighs by how often anything of its module was used."""

    name = "counting"

    class Params(StrategyParams):
        unit: float = 0.01

    @property
    def warmup_bars(self):
        return 0

    def target_weights(self, panel):
        from my_fund import lazily

        for kept in (SEEN, LOCAL, lazily.SEEN, counted()):
            kept.append(1)
        total = len(SEEN) + len(LOCAL) + len(lazily.SEEN) + len(counted())
        return np.full((1, 1), self.params.unit * total)


@cache
def counted():
    return []
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """An installed package with a strategy, and two modules that keep something."""
    folder = tmp_path / "my_fund"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for name in ("kept", "lazily"):
        (folder / f"{name}.py").write_text("SEEN = []\n")
    (folder / "counting.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import my_fund.counting  # type: ignore[import-not-found]  # made a moment ago

    yield my_fund.counting
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_fund"]:
        del sys.modules[name]


def _weight(strategy: Strategy) -> float:
    return float(strategy.target_weights(None)[0, 0])  # type: ignore[arg-type]  # reads no panel


def test_module_and_what_it_imports_of_its_package_are_new_each_time(package: ModuleType) -> None:
    """Lists, functools.cache, a sibling module, and one that is imported while it decides."""
    used = package.Counting(package.Counting.Params(unit=0.02))
    assert [_weight(used) for _ in range(3)] == pytest.approx([0.08, 0.16, 0.24])
    fresh = FreshStrategy(used)
    assert fresh.is_reloaded
    for _ in range(3):
        with fresh.built() as strategy:
            assert _weight(strategy) == pytest.approx(0.08)
    assert _weight(used) == pytest.approx(0.32), "the caller's own modules are as they were"


def test_modules_are_as_they_were_afterwards(package: ModuleType) -> None:
    """Also where the strategy raises, and as attributes of their package."""
    before = {name: module for name, module in sys.modules.items() if name.startswith("my_fund")}
    fresh = FreshStrategy(package.Counting())
    with pytest.raises(ZeroDivisionError), fresh.built():
        raise ZeroDivisionError
    after = {name: module for name, module in sys.modules.items() if name.startswith("my_fund")}
    assert after == before
    assert sys.modules["my_fund"].counting is package


def test_strategy_of_the_registry_is_loaded_from_the_source_it_came_from() -> None:
    """A version's module has no file; what its source was is known all the same."""
    text = Path(sys.modules[Momentum.__module__].__file__ or "").read_text(encoding="utf-8")
    loaded = class_of(StrategySource("Momentum", text), "<registry test>/momentum.py")
    fresh = FreshStrategy(loaded.from_params({"lookback_bars": 7}))
    assert fresh.is_reloaded
    with fresh.built() as strategy:
        assert type(strategy) is not loaded
        assert strategy.params.model_dump()["lookback_bars"] == 7


def test_other_parameters_are_checked() -> None:
    """What the parameters do not allow is refused, as everywhere."""
    with pytest.raises(StrategyError), FreshStrategy(Momentum()).built({"lookback_bars": -1}):
        pass
