"""An account of 1,000 as risk rules see it, everything priced at 100, and limits that are off."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_args

from penstock.core.halts import Halt, TradingState
from penstock.core.instruments import Instrument, InstrumentKind
from penstock.core.orders import Phase, Side
from penstock.core.proposals import ProposedOrder, SeenBar
from penstock.risk.limits import RiskLimits
from penstock.risk.rules import RiskContext

SLOT = datetime(2024, 3, 1, 12, tzinfo=UTC)
BTC = Instrument(
    "BTC/USDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.001"), Decimal("0.001"), Decimal(5)
)
ETH = Instrument(
    "ETH/USDT", "ETH", "USDT", Decimal("0.01"), Decimal("0.01"), Decimal("0.01"), Decimal(5)
)
ACTIVE = Halt("main", TradingState.ACTIVE, "", "", SLOT)


def switched_off(*kept: str) -> dict[str, None]:
    """Return None by name for every limit that may be switched off, but for those `kept`."""
    return {
        name: None
        for name, field in RiskLimits.model_fields.items()
        if type(None) in get_args(field.annotation) and name not in kept
    }


def limits(**changes: Any) -> RiskLimits:
    """Return limits that hold nothing back but losses and pace, with `changes`."""
    wide = RiskLimits(
        max_weight=Decimal(1), max_gross=Decimal(1), max_order_notional=None, price_collar=None
    )
    return wide.model_copy(update=changes)


def order(
    quantity: str = "1", side: Side = Side.BUY, symbol: str = "BTC/USDT", price: int = 100
) -> ProposedOrder:
    """Return a proposed order."""
    phase = Phase.BUYS if side is Side.BUY else Phase.SELLS
    return ProposedOrder(symbol, side, Decimal(quantity), Decimal(price), 0.1, phase)


def context(**changes: Any) -> RiskContext:
    """Return what rules see of an account in cash, with `changes`."""
    plain = RiskContext(
        slot=SLOT,
        equity=Decimal(1000),
        positions={},
        prices={"BTC/USDT": Decimal(100), "ETH/USDT": Decimal(100)},
        instruments={"BTC/USDT": BTC, "ETH/USDT": ETH},
        seen={"BTC/USDT": SeenBar(SLOT, 100.0), "ETH/USDT": SeenBar(SLOT, 100.0)},
        halt=ACTIVE,
    )
    return replace(plain, **changes)


def perpetual(**changes: Any) -> RiskContext:
    """Return the context of an account whose BTC is a perpetual, which may be held short."""
    swap = replace(BTC, kind=InstrumentKind.LINEAR_PERPETUAL)
    return context(instruments={"BTC/USDT": swap, "ETH/USDT": ETH}, **changes)
