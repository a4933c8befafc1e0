"""Money that is the account's and is lent to the venue: staked, or in an earn programme."""

from dataclasses import dataclass
from decimal import Decimal

from penstock.core.amounts import to_step


@dataclass(frozen=True)
class EarnBalance:
    """A balance that cannot be traded before it is redeemed."""

    asset: str
    """The asset that it becomes once it is redeemed."""
    name: str
    """How the venue lists it: "LDBTC", "DOT.S"."""
    quantity: Decimal
    """How much there is, in units of the asset."""
    programme: str
    """What it is in, for people: "Binance Simple Earn"."""

    @property
    def message(self) -> str:
        """What is there, and what to do about it."""
        return (
            f"{to_step(self.quantity)} {self.asset} are in {self.programme} as {self.name}: they "
            "count nothing here and are not traded; redeem or unstake them, and switch automatic "
            "subscription off"
        )
