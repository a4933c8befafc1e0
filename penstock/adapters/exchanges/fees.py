"""In which asset a venue takes its fee, and what a trade says of it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from penstock.adapters.exchanges.ccxt_values import decimal_of
from penstock.adapters.exchanges.venue_families import family_of
from penstock.core.instruments import spot_assets

#: What an order says of its fee. Kraken takes that of a sell in the base asset unless the order
#: asks for quote, and its trades do not name the asset: ccxt calls it quote.
_PARAMETERS: Mapping[str, Mapping[str, str]] = {"kraken": {"oflags": "fciq"}}
#: The field of a trade with the asset of its fee, where ccxt guesses the asset by side and sign.
_ASSET_IN: Mapping[str, str] = {"bybit": "feeCurrency"}


def fee_parameters(venue: str) -> Mapping[str, str]:
    """Return the parameters by which an order asks for its fee in quote, where the venue asks."""
    return _PARAMETERS.get(family_of(venue), {})


def fee_of(venue: str, trade: Mapping[str, Any]) -> tuple[Decimal, str]:
    """Return the fee of a ccxt trade and its asset; below zero for a rebate.

    A fee of zero may have no asset: it is in quote then. Raises ValueError where the fee is missing
    or no number, or where it is in no asset.
    """
    fee = trade.get("fee") or next(iter(trade.get("fees") or []), None) or {}
    named = (trade.get("info") or {}).get(_ASSET_IN.get(family_of(venue), ""))
    cost, asset = decimal_of(fee.get("cost")), named or fee.get("currency")
    if (
        cost is None
        or not cost.is_finite()
        or not isinstance(asset, str | None)
        or (cost and not asset)
    ):
        raise ValueError(f"a trade with a fee of {fee.get('cost')} {asset}: {trade.get('info')}")
    return cost, str(asset or spot_assets(str(trade["symbol"]))[1])
