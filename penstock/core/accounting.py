"""What a fill changes in its account: the one rule of the whole package.

The ledger, profit and loss, cost basis, the replay, the paper account, the practice exchange and
reconciliation all call `effect_of`. When perpetuals come, their margin and realised profit become
further fields of FillEffect.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from typing import NamedTuple

from penstock.core.instruments import spot_assets
from penstock.core.orders import Fill

#: Sums and products of amounts are exact in this context.
EXACT = Context(prec=400)
_ZERO = Decimal(0)


class AssetChange(NamedTuple):
    """A change of one asset's balance."""

    asset: str
    """The asset."""
    amount: Decimal
    """The change: above zero comes in, below zero goes out."""


@dataclass(frozen=True)
class FillEffect:
    """What one fill changes, by cause. Two causes may move the same asset."""

    traded: AssetChange
    """The base asset: in on a buy, out on a sell."""
    paid: AssetChange
    """The quote asset: the notional, out on a buy, in on a sell."""
    fee: AssetChange
    """The fee in its own asset: below zero, or above zero where the venue pays a rebate."""

    def of(self, asset: str) -> Decimal:
        """Return what the fill changes of one asset in total; zero where it does not touch it."""
        return self.balances.get(asset, _ZERO)

    @property
    def balances(self) -> dict[str, Decimal]:
        """The change of each asset's balance. A fee of zero in a third asset is absent."""
        changes: dict[str, Decimal] = {}
        with localcontext(EXACT):
            for asset, amount in (self.traded, self.paid, self.fee):
                if asset in changes or amount or asset != self.fee.asset:
                    changes[asset] = changes.get(asset, _ZERO) + amount
        return changes


def effect_of(fill: Fill, base: str, quote: str) -> FillEffect:
    """Return what a fill of a spot market changes, exactly.

    `base` and `quote` are the market's assets. A buy brings `quantity` of the base and costs
    `quantity * price` of the quote; a sell does the opposite. The fee leaves in `fee_asset`, which
    may be the base, the quote or a third asset.
    """
    sign = fill.side.sign
    with localcontext(EXACT):
        return FillEffect(
            traded=AssetChange(base, sign * fill.quantity),
            paid=AssetChange(quote, -sign * fill.notional),
            fee=AssetChange(fill.fee_asset, -fill.fee),
        )


def changes_of(fill: Fill) -> dict[str, Decimal]:
    """Return what a fill changes, by asset, where only its symbol is known."""
    return effect_of(fill, *spot_assets(fill.symbol)).balances


def summed(changes: Iterable[Mapping[str, Decimal]]) -> dict[str, Decimal]:
    """Return the sum of changes by asset, exactly. An asset whose changes cancel stays at zero."""
    total: dict[str, Decimal] = {}
    with localcontext(EXACT):
        for change in changes:
            for asset, amount in change.items():
                total[asset] = total.get(asset, _ZERO) + amount
    return total


def balances_of(changes: Iterable[Mapping[str, Decimal]]) -> dict[str, Decimal]:
    """Return what is held after all changes, by asset, sorted. An asset at zero is absent."""
    return {asset: amount for asset, amount in sorted(summed(changes).items()) if amount}


def venue_order(fill: Fill) -> tuple[object, ...]:
    """Return the key that sorts fills in the venue's order: time, symbol, trade id.

    A trade id that is a number sorts as a number: "9" comes before "10".
    """
    return fill.at, fill.symbol, len(fill.trade_id), fill.trade_id
