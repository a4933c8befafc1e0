"""In which asset a venue takes its fee, and what a trade says of it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import structlog

from penstock.core.instruments import spot_assets

#: What an order says of its fee. Kraken takes that of a sell in the base asset unless the order
#: asks for quote, and its trades do not name the asset: ccxt calls it quote.
_PARAMETERS: Mapping[str, Mapping[str, str]] = {"kraken": {"oflags": "fciq"}}
#: The field of a trade with the asset of its fee, where ccxt guesses the asset by side and sign.
_ASSET_IN = dict.fromkeys(("bybit", "bybiteu", "bybitid"), "feeCurrency")
_log = structlog.get_logger(__name__)


def fee_parameters(venue: str) -> Mapping[str, str]:
    """Return the parameters by which an order asks for its fee in quote, where the venue asks."""
    return _PARAMETERS.get(venue, {})


def fee_of(venue: str, trade: Mapping[str, Any]) -> tuple[Decimal, str]:
    """Return the fee of a ccxt trade and its asset; below zero for a rebate.

    A trade without a fee gives zero in quote. The comparison of balances then shows the rest.
    Raises ValueError where the fee is no number.
    """
    fee = trade.get("fee") or next(iter(trade.get("fees") or []), None) or {}
    named = (trade.get("info") or {}).get(_ASSET_IN.get(venue, ""))
    cost, asset = fee.get("cost"), named or fee.get("currency")
    if cost is None or asset is None:
        _log.warning(
            "fill_without_fee", venue=venue, symbol=trade["symbol"], trade=str(trade["id"])
        )
        return Decimal(0), spot_assets(str(trade["symbol"]))[1]
    found = Decimal(str(cost))
    if not found.is_finite():
        raise ValueError(f"a fee of {cost} {asset}")
    return found, str(asset)
