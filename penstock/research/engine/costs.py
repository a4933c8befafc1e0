"""What trading costs in a backtest, and which orders are too small to be made.

The kernel of a search reads these floats. The practice exchange, the paper account and the replay
make their FillModel of the same values (penstock.simulation.fill_model).
"""

from pydantic import BaseModel, ConfigDict, Field


class Costs(BaseModel):
    """The costs of one order, and the sizes below which no order is made.

    A buy fills at `open * (1 + slippage)` and pays `fee` on that notional. A sell fills at
    `open * (1 - slippage)` and pays `fee` from its proceeds.

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
