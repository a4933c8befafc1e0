"""What trading costs in a backtest, what a bar's volume fills, and which orders are not made.

The kernel of a search reads these floats. The practice exchange, the paper account and the replay
make their FillModel of the same values (penstock.simulation.fill_model).
"""

from pydantic import BaseModel, ConfigDict, Field


class Costs(BaseModel):
    """The costs of one order, the most of it that fills, and what a position without bars is worth.

    A buy fills at `open * (1 + slippage)` and pays `fee` on that notional. A sell fills at
    `open * (1 - slippage)` and pays `fee` from its proceeds. Slippage is never under
    `min_slippage_ticks` price steps. A bar without volume fills nothing.

    >>> Costs(fee_bps=10).fee
    0.001
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fee_bps: float = Field(
        10.0, ge=0, le=1000, description="fee in basis points of notional (1 bp = 0.01%)"
    )
    slippage_bps: float = Field(
        5.0, ge=0, le=1000, description="slippage in basis points of the open price"
    )
    min_slippage_ticks: float = Field(
        0.5, ge=0, description="least slippage, in price steps: half of the narrowest spread"
    )
    max_volume_share: float | None = Field(
        0.1, gt=0, le=1, description="most that an order takes of its bar's volume; null: no limit"
    )
    value_at_end: float = Field(
        0.0,
        ge=0,
        le=1,
        description="what is left of a position once its bars have ended, of their last close",
    )
    no_trade_band: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="weights nearer than this to their target are left alone, unless it is zero",
    )
    min_notional: float = Field(
        0.0, ge=0, description="smallest notional of an order, in quote units"
    )

    @property
    def fee(self) -> float:
        """The fee as a fraction of notional."""
        return self.fee_bps / 1e4

    @property
    def slippage(self) -> float:
        """The slippage as a fraction of price."""
        return self.slippage_bps / 1e4
