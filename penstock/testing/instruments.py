"""The slot, the prices and the instruments that tests in memory share."""

from datetime import UTC, datetime
from decimal import Decimal

from penstock.core.instruments import Instrument, spot_assets

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
PRICES = {"BTC/USDT": Decimal(50_000), "ETH/USDT": Decimal(2_500), "ADA/USDT": Decimal("0.5")}


def instrument(symbol: str) -> Instrument:
    base, quote = spot_assets(symbol)
    step = {"BTC": "0.00001", "ETH": "0.0001"}.get(base, "0.1")
    return Instrument(
        symbol, base, quote, Decimal("0.01"), Decimal(step), Decimal(step), Decimal(5)
    )
