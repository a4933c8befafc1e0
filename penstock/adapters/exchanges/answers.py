"""The lists in a venue's answers. What is no list is not taken for an empty one."""

from collections.abc import Mapping
from typing import Any


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


#: Where the balances stand in each venue's answer. ccxt keeps none of WhiteBIT's.
_BALANCES: Mapping[str, tuple[str | int, ...]] = {
    **dict.fromkeys(("binance", "binanceus"), ("balances",)),
    **dict.fromkeys(("bybit", "bybiteu", "bybitid"), ("result", "list", 0, "coin")),
    **dict.fromkeys(("okx", "okxus", "myokx"), ("data", 0, "details")),
}


def require_balances(venue: str, answer: Any) -> None:
    """Raise ValueError where the venue's answer has no balances.

    ccxt takes such an answer for an empty account.
    """
    if venue in _BALANCES:
        list_in(answer, *_BALANCES[venue])
    elif venue == "kraken":
        rows_in(answer, "result")


def _under(answer: Any, keys: tuple[str | int, ...]) -> Any:
    for key in keys:
        answer = answer[key]
    return answer
