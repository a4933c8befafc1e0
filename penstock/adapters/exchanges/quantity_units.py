"""What a venue reads an order's quantity as. It must be units of the base asset: else nothing is
sent.

Most venues know no other reading for the orders that ccxt makes. Bybit reads the quantity of a spot
market buy as an amount of the quote asset, unless it is told `marketUnit: baseCoin`, and heeds that
for unified accounts only: so ccxt sends it for those only, and a classic account's order would have
the wrong size by the price.
"""

from typing import Any

from penstock.core.errors import NotSentError

_UNIFIED_ONLY = frozenset({"bybit", "bybiteu", "bybitid"})


def require_base_units(venue: str, client: Any) -> None:
    """Raise NotSentError where the venue could read our quantities as another asset's. ccxt asks
    once and remembers.
    """
    if venue not in _UNIFIED_ONLY:
        return
    _, is_unified = client.is_unified_enabled()
    if is_unified is not True:
        raise NotSentError(
            f"{venue}: this is a classic account, which reads the quantity of a market buy as an amount of the quote asset; "
            "nothing was sent. Upgrade it to a unified trading account at the venue, then start again"
        )
