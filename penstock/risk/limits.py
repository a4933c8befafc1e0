"""The limits that the rules apply: frozen models, filled from configs/risk.yaml."""

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from penstock.core.halts import TradingState
from penstock.core.valuation import PRICE_TOLERANCE


class LossLimit(BaseModel):
    """A loss that an account may not reach, and what follows where it does.

    A breach denies every order that does not reduce, while it lasts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: Decimal = Field(gt=0, lt=1)
    """The loss as a fraction of equity, with positions at the last price."""
    state: Literal["reduce_only", "halted"] | None = None
    """The trading state that a breach sets, until an operator resumes trading."""
    flatten: bool = False
    """Whether a breach closes every position."""

    @property
    def trading_state(self) -> TradingState | None:
        """The state that a breach sets; None where it sets none."""
        return None if self.state is None else TradingState(self.state)


class RiskLimits(BaseModel):
    """All limits. Fractions are of the account's equity, notionals in quote units.

    A limit that is None is off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_weight: Decimal = Field(default=Decimal("0.50"), gt=0, le=1)
    """The exposure of one symbol, as a fraction of equity."""
    max_gross: Decimal = Field(default=Decimal("0.80"), gt=0, le=1)
    """The summed size of all positions, as a fraction of equity."""
    max_net: Decimal | None = Field(default=None, gt=0, le=1)
    """All positions, short ones subtracted from long ones, as a fraction of equity."""
    max_position: dict[str, Decimal] = Field(default_factory=dict)
    """The quantity of a position (base units of a spot market), by symbol."""
    max_position_notional: Decimal | None = Field(default=None, gt=0)
    """The notional of one symbol's position."""
    max_account_notional: Decimal | None = Field(default=None, gt=0)
    """The summed notional of all positions."""
    strategy_quotas: bool = True
    """Whether a strategy is held to its quota of configs/portfolio.yaml."""

    max_order_notional: Decimal | None = Field(default=Decimal(100_000), gt=0)
    """The notional of one order."""
    max_orders_per_minute: int | None = Field(default=120, ge=1)
    """Orders in any 60 seconds. Each piece of an order that is worked over time counts."""
    max_orders_per_day: int | None = Field(default=20_000, ge=1)
    """Orders since 00:00 UTC. Each piece of an order that is worked over time counts."""

    daily_loss: LossLimit | None = LossLimit(limit=Decimal("0.05"))
    """The loss since 00:00 UTC."""
    drawdown: LossLimit | None = LossLimit(limit=Decimal("0.20"), state="reduce_only")
    """The loss from the highest equity since trading was last resumed."""

    max_bar_lag_seconds: float = Field(default=0.0, ge=0)
    """How much older than the slot the newest bar behind an order may be."""
    price_collar: Decimal | None = Field(default=Decimal("0.20"), gt=0)
    """How far the venue's last price may be from its mid and from the last close (a fraction)."""
    max_daily_volatility: Decimal | None = Field(default=Decimal("0.50"), gt=0)
    """The standard deviation of a symbol's log returns, per day, for orders that do not reduce."""

    stop_loss: Decimal | None = Field(default=None, gt=0, lt=1)
    """The loss on a position, as a fraction of its average entry."""
    take_profit: Decimal | None = Field(default=None, gt=0)
    """The gain on a position, as a fraction of its average entry."""
    trailing_stop: Decimal | None = Field(default=None, gt=0, lt=1)
    """The loss on a position from its best price since the entry, as a fraction of that price."""
    stop_cooldown_minutes: float = Field(default=1440, ge=0)
    """How long a position that was stopped is not opened again."""

    max_target_jump: Decimal | None = Field(default=None, gt=0)
    """The summed change of weights between slots. An account's first decision is no jump."""
    max_hourly_turnover: Decimal | None = Field(default=Decimal(5), gt=0)
    """The traded notional of an hour over equity."""

    @field_validator("max_position")
    @classmethod
    def _positive(cls, limits: dict[str, Decimal]) -> dict[str, Decimal]:
        for symbol, limit in limits.items():
            if not limit > 0:
                raise ValueError(f"max_position of {symbol} is {limit}: it must be above zero")
        return limits

    @property
    def price_tolerance(self) -> Decimal:
        """How far a last price may be from what confirms it: the collar's fraction, or 20%."""
        return PRICE_TOLERANCE if self.price_collar is None else self.price_collar

    @property
    def guards_positions(self) -> bool:
        """Whether any rule needs the gain or loss of a position."""
        return any(
            limit is not None for limit in (self.stop_loss, self.take_profit, self.trailing_stop)
        )
