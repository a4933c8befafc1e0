"""The orders of the paper account, and how its state file keeps orders and fills."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from penstock.core.orders import Fill, OrderReport, OrderRequest, OrderState, OrderType, Side

_ZERO = Decimal(0)


@dataclass(frozen=True)
class PaperOrder:
    """An order of the paper account."""

    request: OrderRequest
    """What was sent."""
    number: int
    """The venue's order id."""
    state: OrderState
    """Open, filled or canceled."""
    locked: Decimal = _ZERO
    """What it reserves: quote units for a buy, base units for a sell."""
    placed_at: Decimal = _ZERO
    """The last price when it was placed, which fills nothing: the order came after it. Zero once
    the market has shown another: a price that comes back is a new one."""

    @property
    def report(self) -> OrderReport:
        """The answer about the order."""
        filled = self.request.quantity if self.state is OrderState.FILLED else _ZERO
        return OrderReport(
            self.request.client_order_id, str(self.number), self.request.symbol, self.state, filled
        )

    def values(self) -> dict[str, Any]:
        """Return the order as its entry in the state file."""
        return {
            **vars(replace(self.request, asked_at=None)),  # only signed requests need it
            "number": self.number,
            "state": self.state,
            "locked": self.locked,
            "placed_at": self.placed_at,
        }

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "PaperOrder":
        """Return the order of an entry."""
        asked = {
            name: value
            for name, value in values.items()
            if name not in ("number", "state", "locked", "placed_at")
        }
        typed = {
            "side": Side(asked["side"]),
            "type": OrderType(asked["type"]),
            "quantity": Decimal(asked["quantity"]),
            "price": None if asked["price"] is None else Decimal(asked["price"]),
        }
        return cls(
            OrderRequest(**{**asked, **typed}),
            values["number"],
            OrderState(values["state"]),
            Decimal(values["locked"]),
            Decimal(values.get("placed_at", 0)),
        )


def fill_of(values: Mapping[str, Any]) -> Fill:
    """Return the fill of an entry."""
    decimals = {name: Decimal(values[name]) for name in ("quantity", "price", "fee")}
    at = datetime.fromisoformat(values["at"]).astimezone(UTC)
    return Fill(**{**values, **decimals, "side": Side(values["side"]), "at": at})
