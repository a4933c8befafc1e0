"""What a simulated account holds: of each asset, what is free and what working orders lock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

_ZERO = Decimal(0)


@dataclass
class Balance:
    """One asset's holding."""

    free: Decimal = _ZERO
    """What may be spent."""
    locked: Decimal = _ZERO
    """What working orders hold."""

    @property
    def total(self) -> Decimal:
        return self.free + self.locked


@dataclass
class Balances:
    """All holdings of one account, by asset."""

    assets: dict[str, Balance] = field(default_factory=dict)

    def of(self, asset: str) -> Balance:
        """Return the asset's holding, made empty where there is none yet."""
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
