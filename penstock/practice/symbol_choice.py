"""Which symbols a public call is for, by its `symbol`, `symbols` and `symbolStatus`."""

import json
from collections.abc import Mapping

from penstock.practice.binance_errors import PracticeRefusal, illegal_parameter
from penstock.practice.market import Listing, PracticeMarket

_STATES = ("TRADING", "HALT", "BREAK")


def bad_combination() -> PracticeRefusal:
    return PracticeRefusal(-1128, "Combination of optional parameters invalid.")


def chosen(market: PracticeMarket, parameters: Mapping[str, str]) -> list[Listing]:
    """Return the symbols that are asked for; without any parameter all.

    Raises PracticeRefusal: -1128 for `symbol` with `symbols`, -1121 for one that is not listed,
    -1151 for one that is named twice, -1220 for a single one in another state.
    """
    if "symbol" in parameters and "symbols" in parameters:
        raise bad_combination()
    state = _state(parameters)
    if "symbol" in parameters:
        listing = market.listing(parameters["symbol"])
        if state not in (None, state_of(market, listing)):
            raise PracticeRefusal(-1220, "The symbol's status does not match the requested one.")
        return [listing]
    names = names_in(parameters, "symbols") if "symbols" in parameters else list(market.listings)
    if len(set(names)) < len(names):
        raise PracticeRefusal(-1151, "Symbol is present multiple times in the list.")
    found = [market.listing(name) for name in names]
    return [each for each in found if state in (None, state_of(market, each))]


def state_of(market: PracticeMarket, listing: Listing) -> str:
    """Return a symbol's state as exchangeInfo has it."""
    return "BREAK" if listing.symbol in market.suspended else "TRADING"


def names_in(parameters: Mapping[str, str], name: str) -> list[str]:
    """Return the texts of a JSON list; -1100 where it is none."""
    try:
        names = json.loads(parameters[name])
    except ValueError:
        raise illegal_parameter(name) from None
    if not isinstance(names, list) or not all(isinstance(each, str) and each for each in names):
        raise illegal_parameter(name)
    return names


def _state(parameters: Mapping[str, str]) -> str | None:
    state = parameters.get("symbolStatus")
    if state is not None and state not in _STATES:
        raise PracticeRefusal(-1122, "Invalid symbolStatus.")
    return state
