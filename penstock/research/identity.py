"""Content hashes: two datasets, or two searches, with the same hash are the same."""

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl

from penstock.core.bars import BARS_SCHEMA, VALUE_COLUMNS, require_bars
from penstock.core.doubts import DoubtedBar
from penstock.core.relistings import Join
from penstock.core.strategy import Strategy
from penstock.core.timeframes import Timeframe
from penstock.research.engine.costs import Costs
from penstock.research.engine.results import SearchSettings


def hash_bars(bars: pl.DataFrame) -> str:
    """Return the SHA-256 of the bars, as hexadecimal digits. The order of rows does not matter."""
    table = require_bars(bars, "dataset").sort("symbol", "ts")
    digest = hashlib.sha256(json.dumps(list(BARS_SCHEMA)).encode())
    digest.update(json.dumps(table.group_by("symbol", maintain_order=True).len().rows()).encode())
    digest.update(np.ascontiguousarray(table["ts"].to_physical().to_numpy()).tobytes())
    for column in VALUE_COLUMNS:
        digest.update(np.ascontiguousarray(table[column].fill_null(np.nan).to_numpy()).tobytes())
    return digest.hexdigest()


def strategy_code(strategy: type[Strategy]) -> str:
    """Return a text that changes when the strategy's code does.

    It is the text of the strategy's file. A class of a notebook cell has no file: its parameters
    and compiled code are taken.
    """
    try:
        path = inspect.getsourcefile(strategy)
    except (OSError, TypeError):
        path = None
    if path is not None and Path(path).is_file():
        return Path(path).read_text(encoding="utf-8")
    parameters = json.dumps(strategy.Params.model_json_schema(), sort_keys=True)
    decides = getattr(strategy, "frame_weights", strategy.target_weights)
    code = decides.__code__
    compiled = f"{code.co_code.hex()}\n{code.co_consts}\n{code.co_names}"
    return f"{strategy.__qualname__}\n{parameters}\n{compiled}"


def search_id(
    dataset_hash: str,
    strategies: Sequence[type[Strategy]],
    costs: Costs,
    settings: SearchSettings,
    timeframe: Timeframe,
    *,
    doubts: Sequence[DoubtedBar] = (),
    joins: Sequence[Join] = (),
    functions: Mapping[str, str] | None = None,
) -> str:
    """Return 16 hexadecimal digits that name a search.

    The same data in sample, code, costs, settings and versions of Penstock and Optuna give the same
    id. `functions` is the code of the user's objectives and metrics, by name.
    """
    parts = {
        "dataset": dataset_hash,
        "timeframe": timeframe.value,
        "strategies": {
            s.name: hashlib.sha256(strategy_code(s).encode()).hexdigest() for s in strategies
        },
        "costs": costs.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json", exclude={"top"}),
        "doubts": [str(each) for each in sorted(doubts)],
        "joins": sorted(str(each) for each in joins),
        "functions": dict(functions or {}),
        "versions": [version(each) for each in ("penstock", "optuna")],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
