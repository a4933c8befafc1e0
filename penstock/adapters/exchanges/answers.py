"""The lists in a venue's answers. What is no list is not taken for an empty one."""

from collections.abc import Iterable, Mapping
from typing import Any

from penstock.adapters.exchanges.venue_families import family_of


def list_in(answer: Any, *keys: str | int) -> list[Any]:
    """Return the list under these keys of an answer, from the outermost in.

    Raises ValueError where there is none.
    """
    found = _under(answer, keys)
    if not isinstance(found, list):
        raise ValueError(f"no list under {keys}: {str(found)[:80]}")
    return found


def rows_in(answer: Any, *keys: str) -> Mapping[str, Any]:
    """Return the rows by id under these keys of an answer.

    Raises ValueError where there are none.
    """
    found = _under(answer, keys)
    if not isinstance(found, dict):
        raise ValueError(f"no rows under {keys}: {str(found)[:80]}")
    return found


#: Where the balances stand in each venue's answer, and the field that names a row's asset. ccxt
#: keeps none of WhiteBIT's.
_BALANCES: Mapping[str, tuple[tuple[str | int, ...], str]] = {
    "binance": (("balances",), "asset"),
    "bybit": (("result", "list", 0, "coin"), "coin"),
    "okx": (("data", 0, "details"), "ccy"),
}


def balances_in(venue: str, answer: Any) -> list[str]:
    """Return the venue's names of the assets whose balances are in its answer.

    Raises ValueError where the answer has no balances, or a row without an asset: ccxt takes it for
    an empty account, and passes over such a row.
    """
    family = family_of(venue)
    if family == "kraken":
        rows: Iterable[tuple[Any, Any]] = rows_in(answer, "result").items()
    elif family in _BALANCES:
        keys, named = _BALANCES[family]
        found = list_in(answer, *keys)
        rows = [(row.get(named) if isinstance(row, dict) else None, row) for row in found]
    else:
        rows = ()
    names: list[str] = []
    for asset, row in rows:
        if not isinstance(asset, str) or not asset or not isinstance(row, dict):
            raise ValueError(f"a balance without an asset: {str(row)[:80]}")
        names.append(asset)
    return names


def _under(answer: Any, keys: tuple[str | int, ...]) -> Any:
    for key in keys:
        answer = answer[key]
    return answer
