"""The list of symbols under a fault: one of them without its steps, as a new listing can be."""

from typing import Any

from penstock.practice.faults import Fault, FaultKind

_STEPS = ("tickSize", "stepSize")
_PRECISIONS = ("baseAssetPrecision", "quotePrecision", "quoteAssetPrecision")


def faulty_listings(answer: dict[str, Any], fault: Fault) -> dict[str, Any]:
    """Return the answer of exchangeInfo under a fault. One of another kind does not change it."""
    if fault.kind is not FaultKind.NO_STEPS:
        return answer
    symbols = [
        _without_steps(entry) if fault.symbol in ("", entry["symbol"]) else entry
        for entry in answer["symbols"]
    ]
    return {**answer, "symbols": symbols}


def _without_steps(entry: dict[str, Any]) -> dict[str, Any]:
    filters = [
        {name: "" if name in _STEPS else value for name, value in each.items()}
        for each in entry["filters"]
    ]
    return {**entry, **{name: "" for name in _PRECISIONS if name in entry}, "filters": filters}
