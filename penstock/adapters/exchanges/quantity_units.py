"""In which units a venue reads an order's quantity. It must be the base asset, or nothing is sent.

Most venues have no other reading for the orders that ccxt makes. Bybit reads the quantity of a spot
market buy in units of quote, unless the order says `marketUnit: baseCoin`. It takes that parameter
only from unified accounts, and ccxt sends it only for those. The order of a classic account would
have a wrong size. At WhiteBIT ccxt sends a market order to `order/stock_market`, which reads base
units.
"""

from typing import Any

from penstock.adapters.exchanges.venue_families import family_of
from penstock.core.errors import NotSentError

_UNIFIED_ONLY = frozenset({"bybit"})


def require_base_units(venue: str, client: Any) -> None:
    """Raise NotSentError where the venue could read our quantities in another asset.

    ccxt asks the venue once, and keeps the answer.
    """
    if family_of(venue) not in _UNIFIED_ONLY:
        return
    _, is_unified = client.is_unified_enabled()
    if is_unified is not True:
        raise NotSentError(
            f"{venue}: this is a classic account, which reads the quantity of a market buy as "
            "an amount of the quote asset; nothing was sent. "
            "Upgrade it to a unified trading account at the venue, then start again"
        )
