"""Which edits of a source make another strategy, and which do not."""

from pathlib import Path
from typing import Any

import pytest

from penstock.core.strategy import Strategy
from penstock.research.canonical_source import canonical_source, configuration_of
from strategies import STRATEGIES

SOURCE = '''
"""Follow the last close."""

import math

import polars as pl
from pydantic import Field

from penstock.core.strategy import Strategy, StrategyParams

SHARE = 0.5


def ranked(value: pl.Expr, bars: int) -> pl.Expr:
    """The rank."""
    return value.shift(bars).rank()


class Follower(Strategy):
    """Half of equity in what closed higher."""

    name = "follower"

    class Params(StrategyParams):
        lag_bars: int = Field(3, ge=1, le=60, description="the lag")

    params: Params

    @property
    def warmup_bars(self) -> int:
        return self.params.lag_bars

    def target_weights(self, bars):
        rose = ranked(pl.col("close"), self.params.lag_bars)  # the signal
        return bars.select("symbol", "ts", weight=rose.over("ts") * SHARE)


class Unused(Strategy):
    name = "unused"
'''

#: What is replaced, by what: nothing of it changes a decision.
HARMLESS = {
    "comment": ("  # the signal", "  # the newest signal"),
    "docstring": ('"""Half of equity in what closed higher."""', '"""The best of all."""'),
    "docstring left out": ('    """The rank."""\n', ""),
    "name": ('name = "follower"', 'name = "leader"'),
    "name of the class": ("class Follower", "class Leader"),
    "bounds": ("Field(3, ge=1, le=60, description=", "Field(5, ge=2, le=90, description="),
    "annotation": (") -> pl.Expr:", ") -> object:"),
    "local name": ("rose", "signal"),
    "argument": ("value", "column"),
    "helper's name": ("ranked", "_rank_of"),
    "constant's name": ("SHARE", "HALF"),
    "alias of an import": ("pl", "polars_library"),
    "import that is not used": ("import math", "import math, json"),
    "order of imports": ("import math\n\nimport polars as pl", "import polars as pl\nimport math"),
    "line breaks": ("weight=rose", "\n            weight=rose"),
    "another strategy in the file": ("class Unused", "class AlsoUnused"),
}
#: What is replaced, by what: it decides otherwise.
OTHERWISE = {
    "constant": ("SHARE = 0.5", "SHARE = 0.6"),
    "column": ('pl.col("close")', 'pl.col("open")'),
    "operator": ("* SHARE", "/ SHARE"),
    "helper": ("value.shift(bars)", "value.shift(bars + 1)"),
    "library": ("import polars as pl", "import pandas as pl"),
    "group": ('over("ts")', 'over("symbol")'),
    "warm-up": ("return self.params.lag_bars\n", "return self.params.lag_bars + 1\n"),
    "swapped arguments": ("value: pl.Expr, bars: int", "bars: int, value: pl.Expr"),
    "statement of the module": ("SHARE = 0.5", "SHARE = 0.5\npl.Config.set_tbl_rows(1)"),
}


def strategy_in(text: str, folder: Path) -> type[Strategy]:
    """Return the first strategy of a file with this text."""
    path = folder / f"source_{abs(hash(text))}.py"
    path.write_text(text)
    names: dict[str, Any] = {"__name__": "a_file"}
    runs = text.replace("import pandas as pl", "import polars as pl")
    exec(compile(runs, str(path), "exec"), names)
    made = [
        each for each in names.values() if isinstance(each, type) and issubclass(each, Strategy)
    ]
    return next(each for each in made if each.__module__ == "a_file")


@pytest.mark.parametrize("edit", sorted(HARMLESS))
def test_edit_that_decides_nothing_makes_no_other_strategy(edit: str, tmp_path: Path) -> None:
    before, after = HARMLESS[edit]
    assert before in SOURCE
    edited = strategy_in(SOURCE.replace(before, after), tmp_path)
    original = strategy_in(SOURCE, tmp_path)
    assert canonical_source(edited) == canonical_source(original)
    assert configuration_of(edited.from_params({"lag_bars": 9})) == configuration_of(
        original.from_params({"lag_bars": 9})
    )


@pytest.mark.parametrize("edit", sorted(OTHERWISE))
def test_edit_that_decides_makes_another_strategy(edit: str, tmp_path: Path) -> None:
    before, after = OTHERWISE[edit]
    assert before in SOURCE
    edited = strategy_in(SOURCE.replace(before, after), tmp_path)
    assert canonical_source(edited) != canonical_source(strategy_in(SOURCE, tmp_path))


def test_parameters_make_another_configuration(tmp_path: Path) -> None:
    """The value counts, wherever it comes from: a default that is written out is the same."""
    follower = strategy_in(SOURCE, tmp_path)
    assert configuration_of(follower()) == configuration_of(follower.from_params({"lag_bars": 3}))
    assert configuration_of(follower()) != configuration_of(follower.from_params({"lag_bars": 4}))


def test_shipped_strategies_are_all_different() -> None:
    assert len({canonical_source(each) for each in STRATEGIES.values()}) == len(STRATEGIES)
    assert len({configuration_of(each()) for each in STRATEGIES.values()}) == len(STRATEGIES)


CELL = """
import polars as pl
from penstock.core.strategy import Strategy, StrategyParams

class Cell(Strategy):
    name = "cell"
    class Params(StrategyParams):
        pass
    warmup_bars = 0
    def target_weights(self, bars):
        '''Half.'''
        return bars.select("symbol", "ts", weight=pl.lit(0.5))
"""


def test_class_without_a_text_is_known_by_its_code() -> None:
    """Where neither a file nor a notebook has its text, comments and docstrings do not count."""

    def cell(source: str) -> str:
        names: dict[str, Any] = {"__name__": "a_notebook"}
        exec(compile(source, "<nowhere>", "exec"), names)
        return canonical_source(names["Cell"])

    assert cell(CELL) == cell(CELL.replace("'''Half.'''", "'''The half.'''"))
    assert cell(CELL) != cell(CELL.replace("0.5", "0.6"))


def test_subclass_is_its_base_with_what_it_changes(tmp_path: Path) -> None:
    """What is inherited counts, and a subclass that changes nothing is its base."""
    follower = strategy_in(SOURCE, tmp_path)
    same = type("Same", (follower,), {"name": "same", "__module__": "a_file"})
    other = type("Other", (follower,), {"factor": 2, "__module__": "a_file"})
    assert canonical_source(same) == canonical_source(follower)
    assert canonical_source(other) != canonical_source(follower)
