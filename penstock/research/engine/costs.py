"""What trading costs in a backtest, and which trades are too small to be made."""

from pydantic import BaseModel, ConfigDict, Field


class Costs(BaseModel):
    """Costs of one order, in basis points of its notional (1 bp = 0.01%), and the sizes under which
    no order is made.

    A buy fills at `open * (1 + slippage)` and pays `fee` on that notional; a sell fills at `open *
    (1 - slippage)` and pays `fee` from its proceeds. `no_trade_band` is a fraction of equity: a
    position whose weight is nearer than that to its target is left alone, unless the target is
    zero. `min_notional` is in quote units; smaller orders are not made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fee_bps: float = Field(10.0, ge=0, le=1000)
    slippage_bps: float = Field(5.0, ge=0, le=1000)
    no_trade_band: float = Field(0.0, ge=0, lt=1)
    min_notional: float = Field(0.0, ge=0)

    @property
    def fee(self) -> float:
        """The fee as a fraction of notional."""
        return self.fee_bps / 1e4

    @property
    def slippage(self) -> float:
        """The slippage as a fraction of price."""
        return self.slippage_bps / 1e4
