"""Which symbols a public call is for, by its `symbol`, `symbols` and `symbolStatus`."""

from penstock.practice.binance_errors import PracticeRefusal
from penstock.practice.market import Listing, PracticeMarket
from penstock.practice.parameters import Parameters, symbols


def chosen(market: PracticeMarket, parameters: Parameters) -> list[Listing]:
    """Return the symbols that are asked for; without any parameter all.

    Raises PracticeRefusal: -1121 for one that is not listed, -1220 for a single one whose state is
    not `symbolStatus`, and what `parameters.symbols` raises.
    """
    names, state = symbols(parameters), parameters.get("symbolStatus")
    found = [market.listing(name) for name in (market.listings if names is None else names)]
    if "symbol" in parameters and state not in (None, state_of(market, found[0])):
        raise PracticeRefusal(-1220, "The symbol's status does not match the requested one.")
    return [each for each in found if state in (None, state_of(market, each))]


def state_of(market: PracticeMarket, listing: Listing) -> str:
    """Return a symbol's state as exchangeInfo has it."""
    return "BREAK" if listing.symbol in market.suspended else "TRADING"
