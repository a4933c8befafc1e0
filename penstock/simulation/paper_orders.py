"""The orders and fills of the paper account, and how its state file has them."""

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

    @property
    def report(self) -> OrderReport:
        """The answer about the order."""
        filled = self.request.quantity if self.state is OrderState.FILLED else _ZERO
        return OrderReport(
            self.request.client_order_id, str(self.number), self.request.symbol, self.state, filled
        )


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON can have them: Decimals are text."""
    return {
        key: str(value) if isinstance(value, Decimal) else value for key, value in values.items()
    }


def values_of_order(placed: PaperOrder) -> dict[str, Any]:
    """Return what the state file keeps of an order."""
    return {
        **vars(replace(placed.request, asked_at=None)),  # only signed requests need it
        "number": placed.number,
        "state": placed.state,
        "locked": placed.locked,
    }


def order_from(values: Mapping[str, Any]) -> PaperOrder:
    """Return the order that the state file has."""
    request = dict(values)
    number, state = request.pop("number"), OrderState(request.pop("state"))
    locked = Decimal(request.pop("locked"))
    typed = {
        "side": Side(request["side"]),
        "type": OrderType(request["type"]),
        "price": None if request["price"] is None else Decimal(request["price"]),
        "quantity": Decimal(request["quantity"]),
    }
    return PaperOrder(OrderRequest(**{**request, **typed}), number, state, locked)


def values_of_fill(fill: Fill) -> dict[str, Any]:
    """Return what the state file keeps of a fill."""
    return {**vars(fill), "at": fill.at.isoformat()}


def fill_from(values: Mapping[str, Any]) -> Fill:
    """Return the fill that the state file has."""
    decimals = {name: Decimal(values[name]) for name in ("quantity", "price", "fee")}
    at = datetime.fromisoformat(values["at"]).astimezone(UTC)
    return Fill(**{**values, **decimals, "side": Side(values["side"]), "at": at})
