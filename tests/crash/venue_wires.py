"""How a venue family says what its venue truly has: it answers ccxt's requests in its own words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.crash.true_venue import TrueOrder, TrueTrade, TrueVenue

#: HTTP status and body.
Said = tuple[int, Any]
Fields = Mapping[str, Any]


class Call(StrEnum):
    """What a request asks for."""

    PLACE = "place"
    CANCEL = "cancel"
    FIND = "find"
    OPEN = "open orders"
    TRADES = "trades"
    BALANCES = "balances"
    TICKERS = "tickers"


@dataclass(frozen=True)
class Wire:
    """One family's requests, and its answers to them."""

    answers: Mapping[tuple[str, str], tuple[Call | None, Callable[[TrueVenue, Fields], Said]]]
    """The call and the answer, by method and path. The call is None for what stays as it is."""
    codes: tuple[str, ...]
    """Codes that the venue may answer with: refusals, faults of its own, and one of no table."""
    refused: Callable[[str], Said]
    """The answer with a code."""


def ms(venue: TrueVenue) -> int:
    return round(venue.now.timestamp() * 1000)


def at_ms(each: TrueOrder | TrueTrade) -> int:
    return round(each.at.timestamp() * 1000)


def assets(venue: TrueVenue) -> dict[str, tuple[str, str]]:
    """Return total and free of each asset, as text."""
    return {asset: (f"{total:f}", f"{total:f}") for asset, total in venue.balances.items()}


def call_of(wire: Wire, method: str, path: str, fields: Fields) -> Call | None:
    """Return what a request asks for. Two calls may share a path: named orders are searched for."""
    call, _ = wire.answers[method, path]
    if path.endswith("realtime") and "orderLinkId" not in fields:
        return Call.OPEN
    if path.endswith("OpenOrders") and "cl_ord_id" in fields:
        return Call.FIND
    return call
