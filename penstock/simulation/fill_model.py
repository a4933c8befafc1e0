"""How an order fills: at which price, how much of it, and for which commission.

The practice exchange, the paper account and the replay all use this model, so the same bars give
them the same fills. It is about one order at one known price. Its callers have the prices, the
resting orders and the account. penstock.core.accounting says what a fill changes.

Searches use the compiled kernel of penstock.research instead. Both take fee and slippage from
penstock.research.engine.costs.Costs: see `FillModel.of`.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import (
    ROUND_CEILING,
    ROUND_DOWN,
    ROUND_FLOOR,
    ROUND_HALF_UP,
    ROUND_UP,
    Decimal,
    localcontext,
)
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from penstock.core.accounting import EXACT
from penstock.core.instruments import Instrument
from penstock.core.orders import Fill, Side
from penstock.research.engine.costs import Costs

_ZERO = Decimal(0)
_BPS = Decimal(10_000)
#: Prices and commissions have eight decimals, as in Binance's answers.
_EIGHT_PLACES = Decimal("1e-8")

FeeAsset = Literal["received", "quote", "BNB"]


class BnbWallet(NamedTuple):
    """What an account could pay a commission in BNB with."""

    free: Decimal
    """BNB that no working order reserves."""
    price: Decimal
    """Price of one BNB in the quote asset of the trade."""


def decimal_of(value: float) -> Decimal:
    """Return a bar's price or volume as a Decimal with eight decimals."""
    return Decimal(f"{value:.8f}")


def crosses(side: Side, limit: Decimal, price: Decimal) -> bool:
    """Return whether a limit order takes at `price`: a buy at or below its limit, a sell at or
    above.
    """
    return side.sign * (limit - price) >= 0


def is_through(side: Side, limit: Decimal, price: Decimal) -> bool:
    """Return whether `price` is strictly beyond a resting order's limit.

    A price at the limit is not enough, because other orders may be first in the queue.
    """
    return side.sign * (limit - price) > 0


def first_bar_through(
    side: Side, limit: Decimal, highs: npt.NDArray[np.float64], lows: npt.NDArray[np.float64]
) -> int | None:
    """Return the position of the first bar that traded strictly through a resting order's limit.

    Lows count for a buy, highs for a sell. None where no bar did.
    """
    at = float(limit)
    hits = np.flatnonzero(lows < at if side is Side.BUY else highs > at)
    return int(hits[0]) if len(hits) else None


@dataclass(frozen=True, kw_only=True)
class FillModel:
    """What trading costs, and the share of a bar's volume that orders may take."""

    taker_fee_bps: Decimal = Decimal(10)
    """Commission of an order that fills at once, in basis points of its notional."""
    maker_fee_bps: Decimal | None = None
    """Commission of an order that rested, in basis points; None for the taker's."""
    slippage_bps: Decimal = _ZERO
    """How much worse than the known price a taker fills, in basis points."""
    min_slippage_ticks: Decimal = Decimal("0.5")
    """How much worse than the known price a taker fills at least, in price ticks. Zero, without
    slippage either, has bid and ask at the known price.
    """
    fee_asset: FeeAsset = "received"
    """The asset of the commission.

    "received" is what the fill brings in, as at Binance: base on a buy, quote on a sell. "quote" is
    the quote asset on both sides. "BNB" is BNB where the account has enough of it, else as
    "received".
    """
    participation: float | None = 1.0
    """Share of a bar's volume that all orders together may take; None for no limit.

    A bar without volume fills nothing all the same.
    """

    @classmethod
    def of(cls, costs: Costs) -> "FillModel":
        """Return the model with the costs and the share of volume that a backtest was made with."""
        return cls(
            taker_fee_bps=Decimal(str(costs.fee_bps)),
            slippage_bps=Decimal(str(costs.slippage_bps)),
            min_slippage_ticks=Decimal(str(costs.min_slippage_ticks)),
            participation=costs.max_volume_share,
        )

    def fee_bps(self, is_maker: bool) -> Decimal:
        """Return the commission of a maker or a taker, in basis points."""
        if is_maker and self.maker_fee_bps is not None:
            return self.maker_fee_bps
        return self.taker_fee_bps

    def taker_price(self, side: Side, known: Decimal, price_tick: Decimal) -> Decimal:
        """Return the price at which an order takes when the market's last price is `known`.

        That is the ask for a buy and the bid for a sell: `known`, worse by the slippage, on the
        nearest tick, and never better than `known`. `price_tick` is the instrument's. Half a tick
        of slippage on a price that is on the tick makes that price the bid and the next the ask.
        Under one tick there is no bid on the tick, and `known` is the bid.
        """
        slip = max(known * self.slippage_bps / _BPS, self.min_slippage_ticks * price_tick)
        nearest = ((known + side.sign * slip) / price_tick).to_integral_value(ROUND_HALF_UP)
        if side is Side.BUY:
            return max(nearest, (known / price_tick).to_integral_value(ROUND_CEILING)) * price_tick
        ticks = min(nearest, (known / price_tick).to_integral_value(ROUND_FLOOR))
        return min(max(ticks, Decimal(1)) * price_tick, known or price_tick)  # nothing is for zero

    def fillable(
        self, instrument: Instrument, quantity: Decimal, volume: float, taken: Decimal = _ZERO
    ) -> Decimal:
        """Return how much of `quantity` a bar's volume fills, in whole lots.

        `volume` is the bar's volume, and `taken` what earlier fills took of it (base units).
        """
        if not volume > 0:
            return _ZERO
        if self.participation is None:
            return quantity
        left = instrument.round_lots(decimal_of(volume * self.participation) - taken)
        return min(quantity, max(left, _ZERO))

    def spends(
        self, instrument: Instrument, side: Side, quantity: Decimal, price: Decimal
    ) -> tuple[str, Decimal]:
        """Return the asset and the amount that an order needs in the account.

        A sell needs its quantity of the base, a buy its notional in the quote. A buy with its
        commission in quote needs that too, at the taker's rate, rounded up to eight decimals.
        """
        if side is Side.SELL:
            return instrument.base, quantity
        rate = self.taker_fee_bps / _BPS if self.fee_asset == "quote" else _ZERO
        with localcontext(EXACT):
            needed = quantity * price * (1 + rate)
            return instrument.quote, needed.quantize(_EIGHT_PLACES, rounding=ROUND_UP)

    def fill(
        self,
        instrument: Instrument,
        side: Side,
        quantity: Decimal,
        price: Decimal,
        *,
        at: datetime,
        trade_id: str = "",
        client_order_id: str = "",
        is_maker: bool = False,
        bnb: BnbWallet | None = None,
    ) -> Fill:
        """Return the fill of `quantity` at `price`, with its commission.

        `bnb` is the account's BNB, for a `fee_asset` of "BNB".
        """
        fee_asset, fee = self._commission(instrument, side, quantity, price, is_maker, bnb)
        return Fill(
            trade_id, client_order_id, instrument.symbol, side, quantity, price, fee, fee_asset, at
        )

    def _commission(
        self,
        instrument: Instrument,
        side: Side,
        quantity: Decimal,
        price: Decimal,
        is_maker: bool,
        bnb: BnbWallet | None,
    ) -> tuple[str, Decimal]:
        """Return the commission's asset and amount, truncated to eight decimals."""
        rate = self.fee_bps(is_maker) / _BPS
        with localcontext(EXACT):
            notional = quantity * price
            if self.fee_asset == "BNB" and bnb is not None:
                fee = _truncated(notional * rate / bnb.price)
                if fee <= bnb.free and "BNB" not in (instrument.base, instrument.quote):
                    return "BNB", fee
            if side is Side.SELL or self.fee_asset == "quote":
                return instrument.quote, _truncated(notional * rate)
            return instrument.base, _truncated(quantity * rate)


def _truncated(amount: Decimal) -> Decimal:
    return amount.quantize(_EIGHT_PLACES, rounding=ROUND_DOWN)
