"""What trading costs in a backtest, what a bar's volume fills, and which orders are not made.

The kernel of a search reads these floats. The practice exchange, the paper account and the replay
make their FillModel of the same values (penstock.simulation.fill_model).
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from penstock.core.instruments import Instrument


class InstrumentRules(BaseModel):
    """What one instrument has of its own: its venue's smallest steps, and costs that were measured.

    0 and None are "not known": the value that `Costs` has for all instruments counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: str = Field(description='the symbol, such as "BTC/USDT"')
    lot_step: float = Field(0.0, ge=0, description="quantities are whole multiples of it")
    min_quantity: float = Field(0.0, ge=0, description="smallest quantity, in base units")
    min_notional: float = Field(0.0, ge=0, description="smallest notional, in quote units")
    price_tick: float = Field(
        0.0, ge=0, description="fills are on whole multiples of it, in quote units"
    )
    keep: float = Field(
        0.0, ge=0, description="base units that are never sold; with buy_reserve_bps only"
    )
    fee_bps: float | None = Field(None, ge=0, le=1000, description="its fee, in basis points")
    slippage_bps: float | None = Field(
        None, ge=0, le=1000, description="its slippage, in basis points"
    )

    def times(self, fees: float, slippage: float) -> Self:
        """Return the rules with measured fees and slippage multiplied."""
        fee, slip = self.fee_bps, self.slippage_bps
        return self.model_copy(
            update={
                "fee_bps": None if fee is None else fee * fees,
                "slippage_bps": None if slip is None else slip * slippage,
            }
        )


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
    buy_reserve_bps: float | None = Field(
        None,
        ge=0,
        lt=2000,
        description="what live buys leave of the cash for costs: buys are then sized by the equity "
        "after the sells, and scaled down together; null: the smaller buys are filled first",
    )
    instruments: tuple[InstrumentRules, ...] = Field(
        (), description="what instruments have of their own"
    )

    @model_validator(mode="after")
    def _name_each_instrument_once(self) -> Self:
        names = [each.symbol for each in self.instruments]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"instruments: {', '.join(twice)} stands there twice")
        return self

    @property
    def fee(self) -> float:
        """The fee as a fraction of notional."""
        return self.fee_bps / 1e4

    @property
    def slippage(self) -> float:
        """The slippage as a fraction of price."""
        return self.slippage_bps / 1e4

    def as_live(
        self,
        no_trade_band: Decimal,
        buy_reserve: Decimal,
        instruments: Iterable[Instrument],
        keep: Mapping[str, Decimal],
    ) -> Self:
        """Return the costs with what a live account trades by.

        Parameters
        ----------
        no_trade_band
            Differences below this fraction of equity are not traded.
        buy_reserve
            What buys leave of the cash for fees and slippage, as a fraction of notional.
        instruments
            The venue's rules. Costs that were measured for an instrument stay.
        keep
            How much of an asset is never sold, by asset.
        """
        measured = {each.symbol: each for each in self.instruments}
        own = {
            each.symbol: measured.pop(each.symbol, InstrumentRules(symbol=each.symbol)).model_copy(
                update={
                    "lot_step": float(each.lot_step),
                    "min_quantity": float(each.min_quantity),
                    "min_notional": float(each.min_notional),
                    "price_tick": float(each.price_tick),
                    "keep": float(keep.get(each.base, 0)),
                }
            )
            for each in instruments
        }
        return self.model_copy(
            update={
                "no_trade_band": float(no_trade_band),
                "buy_reserve_bps": float(buy_reserve * 10_000),
                "instruments": tuple((measured | own).values()),
            }
        )

    def times(self, fees: float = 1.0, slippage: float = 1.0) -> Self:
        """Return the costs with fees and slippage multiplied, those of instruments too.

        >>> Costs(fee_bps=10, slippage_bps=5).times(fees=2, slippage=3).slippage_bps
        15.0
        """
        return self.model_copy(
            update={
                "fee_bps": self.fee_bps * fees,
                "slippage_bps": self.slippage_bps * slippage,
                "min_slippage_ticks": self.min_slippage_ticks * slippage,
                "instruments": tuple(each.times(fees, slippage) for each in self.instruments),
            }
        )
