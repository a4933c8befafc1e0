"""Accounts: balances with what is free and what open orders lock, in Decimal, and the orders and
trades made on them.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

ZERO = Decimal(0)


class PracticeOrderStatus(StrEnum):
    """Binance's order states that the practice exchange uses."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"

    @property
    def is_open(self) -> bool:
        return self in (PracticeOrderStatus.NEW, PracticeOrderStatus.PARTIALLY_FILLED)


@dataclass
class Order:
    """An order as the venue holds it. `locked` is what it still locks; `matched_to_ms` how far bars
    have been matched.
    """

    order_id: int
    client_id: str
    symbol: str
    side: str
    type: str
    time_in_force: str
    quantity: Decimal
    price: Decimal
    created_ms: int
    updated_ms: int
    matched_to_ms: int
    status: PracticeOrderStatus = PracticeOrderStatus.NEW
    executed: Decimal = ZERO
    executed_quote: Decimal = ZERO
    locked: Decimal = ZERO
    hidden_until: float = (
        0.0  # machine's monotonic seconds; a fault may delay when queries see the order
    )
    hidden_until_ms: int = 0  # the same by the venue's own clock

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.executed


@dataclass(frozen=True)
class Trade:
    """One execution. `commission` is in `commission_asset`."""

    trade_id: int
    order_id: int
    symbol: str
    side: str
    price: Decimal
    quantity: Decimal
    commission: Decimal
    commission_asset: str
    at_ms: int
    is_maker: bool


@dataclass
class Balance:
    """An asset's holdings: `free` may be spent, `locked` is held by open orders."""

    free: Decimal = ZERO
    locked: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        return self.free + self.locked


@dataclass
class Balances:
    """All holdings of one account."""

    assets: dict[str, Balance] = field(default_factory=dict)

    def of(self, asset: str) -> Balance:
        return self.assets.setdefault(asset, Balance())

    def add(self, asset: str, quantity: Decimal) -> None:
        """Change the free balance by `quantity` (negative to take away)."""
        self.of(asset).free += quantity

    def lock(self, asset: str, quantity: Decimal) -> None:
        """Move `quantity` from free to locked."""
        balance = self.of(asset)
        balance.free -= quantity
        balance.locked += quantity

    def unlock(self, asset: str, quantity: Decimal) -> None:
        """Move `quantity` from locked to free."""
        self.lock(asset, -quantity)


@dataclass
class Account:
    """One API key's account. Client order ids are unique for its whole life: stricter than Binance,
    where open ones count.
    """

    api_key: str
    secret: str
    balances: Balances = field(default_factory=Balances)
    orders: dict[int, Order] = field(default_factory=dict)
    order_ids: dict[str, int] = field(default_factory=dict)
    open_ids: dict[int, None] = field(default_factory=dict)  # a set that keeps its order
    trades: dict[str, list[Trade]] = field(default_factory=dict)

    def keep(self, order: Order) -> None:
        """Enter the order, or its new state, in the account's indexes."""
        self.orders[order.order_id] = order
        self.order_ids[order.client_id] = order.order_id
        if order.status.is_open:
            self.open_ids[order.order_id] = None
        else:
            self.open_ids.pop(order.order_id, None)

    def trades_of(self, order: Order) -> list[Trade]:
        return [
            trade for trade in self.trades.get(order.symbol, []) if trade.order_id == order.order_id
        ]
