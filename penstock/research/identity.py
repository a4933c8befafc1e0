"""What makes two datasets, or two searches, the same one: content hashes."""

import hashlib
import inspect
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from penstock.core.bars import BARS_SCHEMA, VALUE_COLUMNS, require_bars
from penstock.core.strategy import Strategy
from penstock.core.timeframes import Timeframe
from penstock.research.engine.costs import Costs
from penstock.research.engine.results import SearchSettings


def hash_bars(bars: pl.DataFrame) -> str:
    """Return the SHA-256 (hex) of the bars' content; row order does not matter."""
    table = require_bars(bars, "dataset").sort("symbol", "ts")
    digest = hashlib.sha256(json.dumps(list(BARS_SCHEMA)).encode())
    digest.update(json.dumps(table.group_by("symbol", maintain_order=True).len().rows()).encode())
    digest.update(np.ascontiguousarray(table["ts"].to_physical().to_numpy()).tobytes())
    for column in VALUE_COLUMNS:
        digest.update(np.ascontiguousarray(table[column].fill_null(np.nan).to_numpy()).tobytes())
    return digest.hexdigest()


def strategy_code(strategy: type[Strategy]) -> str:
    """Return text that changes when the strategy's code does: its file's, or that of what a
    notebook cell defines.
    """
    try:
        path = inspect.getsourcefile(strategy)
    except (OSError, TypeError):
        path = None
    if path is not None and Path(path).is_file():
        return Path(path).read_text(encoding="utf-8")
    parameters = json.dumps(strategy.Params.model_json_schema(), sort_keys=True)
    code = strategy.target_weights.__code__
    return f"{strategy.__qualname__}\n{parameters}\n{code.co_code.hex()}\n{code.co_consts}\n{code.co_names}"


def search_id(
    dataset_hash: str,
    strategies: Sequence[type[Strategy]],
    costs: Costs,
    settings: SearchSettings,
    timeframe: Timeframe,
) -> str:
    """Return 16 hex digits that name a search: same data, strategy code, costs and settings, same
    id (storage aside).
    """
    parts = {
        "dataset": dataset_hash,
        "timeframe": timeframe.value,
        "strategies": {
            s.name: hashlib.sha256(strategy_code(s).encode()).hexdigest() for s in strategies
        },
        "costs": costs.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json", exclude={"storage_url", "top"}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
