"""The limits that the rules apply: one frozen model, filled from configs/risk.yaml. The defaults are the cautious ones."""

from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field


class RiskLimits(BaseModel):
    """Fractions are of the account's equity, notionals in quote units. `None` switches a limit off.

    `max_bar_lag_seconds`: how much older than the slot the newest bar behind an order may be. `price_collar`: how far, as
    a fraction, the venue's price may be from the close that the decision saw.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_weight: Decimal = Field(default=Decimal("0.50"), gt=0, le=1)
    max_gross: Decimal = Field(default=Decimal("0.80"), gt=0, le=1)
    max_order_notional: Decimal | None = Field(default=Decimal(100_000), gt=0)
    max_bar_lag_seconds: float = Field(default=0.0, ge=0)
    price_collar: Decimal | None = Field(default=Decimal("0.20"), gt=0)
