"""The balances of an account in a venue's answer, and which of them are in earn programmes.

Binance lists what is in Simple Earn under the asset with LD before it. Kraken puts a sign behind
it: F can be traded as it is, all others have to be unstaked first.
"""

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

from penstock.adapters.exchanges.answers import balances_in
from penstock.core.earn_balances import EarnBalance

_ZERO = Decimal(0)
#: Kraken's sign of balances that earn and can be traded all the same.
_TRADABLE = ".F"
_PROGRAMMES = {
    "S": "Kraken staking",
    "M": "Kraken opt-in rewards",
    "B": "Kraken's bonded rewards",
    "P": "Kraken's parachain auctions",
}


def read_balances(client: Any, venue: str, which: str) -> dict[str, Decimal]:
    """Return one column ("total", "free") of the balances by asset, as the venue lists them.

    Raises ValueError where a balance is missing or no number. What is free may be missing.
    """
    answer = client.fetch_balance()
    for named in balances_in(venue, answer.get("info")):
        if client.safe_currency_code(named) not in answer["total"]:
            raise ValueError(f"ccxt leaves out the balance of {named}")
    found: dict[str, Decimal] = {}
    for asset, quantity in answer[which].items():
        if quantity is None and which == "free":
            continue
        found[asset] = Decimal(str(quantity))
        if not found[asset].is_finite():
            raise ValueError(f"a balance of {quantity} {asset}")
    return found


def tradable(
    venue: str, listed: Mapping[str, Decimal], assets: Collection[str]
) -> dict[str, Decimal]:
    """Return the balances that can be traded, by asset; assets without any are absent.

    `assets` are those of the venue's markets.
    """
    found: dict[str, Decimal] = {}
    for name, quantity in listed.items():
        if earn_balance(venue, name, quantity, assets) is not None:
            continue
        asset = name.removesuffix(_TRADABLE) if venue == "kraken" else name
        found[asset] = found.get(asset, _ZERO) + quantity
    return {asset: quantity for asset, quantity in found.items() if quantity}


def earn_balance(
    venue: str, name: str, quantity: Decimal, assets: Collection[str]
) -> EarnBalance | None:
    """Return a balance as one of an earn programme; None where it can be traded as it is.

    >>> earn_balance("binance", "LDBTC", Decimal(1), {"BTC"}).programme
    'Binance Simple Earn'
    >>> earn_balance("binance", "LDO", Decimal(1), {"LDO", "O"}) is None
    True
    """
    if venue.startswith("binance") and name.startswith("LD") and name not in assets:
        asset = name.removeprefix("LD")
        if asset in assets:
            return EarnBalance(asset, name, quantity, "Binance Simple Earn")
    if venue == "kraken" and "." in name and not name.endswith(_TRADABLE):
        asset, _, sign = name.partition(".")
        return EarnBalance(asset, name, quantity, _PROGRAMMES.get(sign, f"Kraken's {sign}"))
    return None
