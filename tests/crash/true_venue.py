"""A venue that knows the truth: its books, whatever its answers say. `venue_wires` writes the
answers.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum

from penstock.core.clock import Clock
from penstock.core.orders import Side

#: Last prices, which stand still. Bid and ask are a cent away.
PRICES = {"AAA": Decimal(100), "BBB": Decimal(50)}
CENT = Decimal("0.01")
_FEE = Decimal("0.001")


class Working(StrEnum):
    """What the venue does with an order at once."""

    FILLS = "fills"
    RESTS = "rests"
    HALF = "half"
    """Half of it is filled, in whole lots; the rest waits."""


@dataclass
class TrueOrder:
    """An order as the venue has it."""

    number: int
    name: str
    base: str
    side: Side
    quantity: Decimal
    at: datetime
    filled: Decimal = Decimal(0)
    canceled: bool = False

    @property
    def is_open(self) -> bool:
        return not self.canceled and self.filled < self.quantity


@dataclass(frozen=True)
class TrueTrade:
    """A trade as the venue has it."""

    number: int
    order: TrueOrder
    quantity: Decimal
    price: Decimal
    at: datetime
    fee: Decimal
    fee_asset: str


@dataclass
class TrueVenue:
    """Balances, orders and trades of one account. It refuses nothing: whether an order leaves twice
    is for the sender to see to.
    """

    working: Working
    clock: Clock
    balances: dict[str, Decimal]
    buys_cost_base: bool = False
    """Whether the fee of a buy is taken from what was bought."""
    hides: timedelta = timedelta(0)
    """For how long a new order is in no list and is not found by its name."""
    orders: list[TrueOrder] = field(default_factory=list)
    trades: list[TrueTrade] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def place(self, name: str, base: str, side: str, quantity: str) -> TrueOrder:
        number = len(self.orders) + 1
        order = TrueOrder(number, name, base, Side(side.lower()), Decimal(quantity), self.now)
        self.orders.append(order)
        share = {Working.FILLS: Decimal(1), Working.RESTS: Decimal(0), Working.HALF: Decimal("0.5")}
        self._fill(order, (order.quantity * share[self.working]).quantize(CENT, ROUND_DOWN))
        return order

    def _fill(self, order: TrueOrder, quantity: Decimal) -> None:
        if not quantity:
            return
        price, in_base = PRICES[order.base], self.buys_cost_base and order.side is Side.BUY
        fee = quantity * _FEE * (Decimal(1) if in_base else price)
        paid_in = order.base if in_base else "USDT"
        number = len(self.trades) + 1
        self.trades.append(TrueTrade(number, order, quantity, price, self.now, fee, paid_in))
        order.filled += quantity
        self.balances[paid_in] -= fee
        self.balances[order.base] += order.side.sign * quantity
        self.balances["USDT"] -= order.side.sign * quantity * price

    def named(self, name: str) -> TrueOrder | None:
        """Return the newest order of the name."""
        return next((order for order in reversed(self.orders) if order.name == name), None)

    def shown(self, name: str) -> TrueOrder | None:
        """Return the newest order of the name, once the venue shows it."""
        order = self.named(name)
        return None if order is None or order.at + self.hides > self.now else order

    def cancel(self, name: str) -> bool:
        """Cancel the order; return whether it was open."""
        order = self.named(name)
        if order is None or not order.is_open:
            return False
        order.canceled = True
        return True

    @property
    def open_orders(self) -> list[TrueOrder]:
        return [order for order in self.orders if order.is_open]

    @property
    def listed(self) -> list[TrueOrder]:
        """The orders that the venue shows."""
        return [order for order in self.orders if order.at + self.hides <= self.now]

    def equity(self) -> Decimal:
        """Return what the account is worth."""
        return self.balances["USDT"] + sum(
            (price * self.balances[base] for base, price in PRICES.items()), Decimal(0)
        )
