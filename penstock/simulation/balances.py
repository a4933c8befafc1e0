"""The balances of a simulated account: of each asset what is free and what orders reserve."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

_ZERO = Decimal(0)


@dataclass
class Balance:
    """One asset's balance."""

    free: Decimal = _ZERO
    """What may be spent."""
    locked: Decimal = _ZERO
    """What working orders reserve; Binance calls it locked."""

    @property
    def total(self) -> Decimal:
        """Free and locked together."""
        return self.free + self.locked


@dataclass
class Balances:
    """All balances of one account."""

    assets: dict[str, Balance] = field(default_factory=dict)
    """The balances by asset."""

    def of(self, asset: str) -> Balance:
        """Return the asset's balance. A new one is empty."""
        return self.assets.setdefault(asset, Balance())

    def add(self, changes: Mapping[str, Decimal]) -> None:
        """Change free balances by signed amounts."""
        for asset, amount in changes.items():
            self.of(asset).free += amount

    def lock(self, asset: str, quantity: Decimal) -> None:
        """Move `quantity` from free to locked."""
        balance = self.of(asset)
        balance.free -= quantity
        balance.locked += quantity

    def unlock(self, asset: str, quantity: Decimal) -> None:
        """Move `quantity` from locked to free."""
        self.lock(asset, -quantity)
