"""The limits that the rules apply: frozen models, filled from configs/risk.yaml. The defaults are
the cautious ones.
"""

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from penstock.core.halts import TradingState


class LossLimit(BaseModel):
    """A loss that may not be passed, as a fraction of equity, open positions valued at the last
    price.

    A breach denies every buy while it lasts. `state` is what the account is set to besides, until
    an operator resumes it; `flatten` closes every position.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: Decimal = Field(gt=0, lt=1)
    state: Literal["reduce_only", "halted"] | None = None
    flatten: bool = False

    @property
    def trading_state(self) -> TradingState | None:
        return None if self.state is None else TradingState(self.state)


class RiskLimits(BaseModel):
    """Fractions are of the account's equity, notionals in quote units. `None` switches a limit off.

    `max_weight`, `max_position_notional` and `max_position` (base units, by symbol) bound one
    symbol, `max_gross`, `max_net` (None: as gross) and `max_account_notional` the account.
    `max_bar_lag_seconds`: how much older than the slot the newest bar behind an order may be.
    `price_collar`: how far, as a fraction, the venue's last price may be from its mid, where it
    quotes one, and from the close that the decision saw. `max_daily_volatility`: standard deviation
    of a symbol's log returns, per day, above which it is not bought.

    `stop_loss`, `take_profit` and `trailing_stop` are fractions of a position's average entry (of
    its highest price since, for the trailing one); a position that was stopped is not bought again
    for `stop_cooldown_minutes`.

    `max_target_jump`: summed change of the weights between slots; the first decision of an account
    is no jump. `max_hourly_turnover`: traded notional of an hour over equity.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_weight: Decimal = Field(default=Decimal("0.50"), gt=0, le=1)
    max_gross: Decimal = Field(default=Decimal("0.80"), gt=0, le=1)
    max_net: Decimal | None = Field(default=None, gt=0, le=1)
    max_position: dict[str, Decimal] = Field(default_factory=dict)
    max_position_notional: Decimal | None = Field(default=None, gt=0)
    max_account_notional: Decimal | None = Field(default=None, gt=0)
    strategy_quotas: bool = True

    max_order_notional: Decimal | None = Field(default=Decimal(100_000), gt=0)
    max_orders_per_minute: int | None = Field(default=120, ge=1)
    max_orders_per_day: int | None = Field(default=20_000, ge=1)

    daily_loss: LossLimit | None = LossLimit(limit=Decimal("0.05"))
    drawdown: LossLimit | None = LossLimit(limit=Decimal("0.20"), state="reduce_only")

    max_bar_lag_seconds: float = Field(default=0.0, ge=0)
    price_collar: Decimal | None = Field(default=Decimal("0.20"), gt=0)
    max_daily_volatility: Decimal | None = Field(default=Decimal("0.50"), gt=0)

    stop_loss: Decimal | None = Field(default=None, gt=0, lt=1)
    take_profit: Decimal | None = Field(default=None, gt=0)
    trailing_stop: Decimal | None = Field(default=None, gt=0, lt=1)
    stop_cooldown_minutes: float = Field(default=1440, ge=0)

    max_target_jump: Decimal | None = Field(default=None, gt=0)
    max_hourly_turnover: Decimal | None = Field(default=Decimal(5), gt=0)

    @field_validator("max_position")
    @classmethod
    def _positive(cls, limits: dict[str, Decimal]) -> dict[str, Decimal]:
        for symbol, limit in limits.items():
            if not limit > 0:
                raise ValueError(f"max_position of {symbol} is {limit}: it must be above zero")
        return limits

    @property
    def guards_positions(self) -> bool:
        """Whether any rule looks at a single position's gain or loss."""
        return any(
            limit is not None for limit in (self.stop_loss, self.take_profit, self.trailing_stop)
        )
