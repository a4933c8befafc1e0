"""The accounts of the practice exchange: balances, and the orders and trades made on them."""

from dataclasses import dataclass, field, fields
from decimal import Decimal
from enum import StrEnum
from typing import Any

from penstock.core.orders import Side
from penstock.simulation.balances import Balances

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
        """Whether the order works."""
        return self in (PracticeOrderStatus.NEW, PracticeOrderStatus.PARTIALLY_FILLED)


_STOP_LOSSES = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT"})


@dataclass
class PracticeOrder:
    """An order of the practice exchange."""

    order_id: int
    """The venue's order id."""
    client_id: str
    """The client order id."""
    symbol: str
    """As Binance writes it: "BTCUSDT"."""
    side: Side
    """Buy or sell."""
    type: str
    """Binance's order type, as "LIMIT" or "STOP_LOSS_LIMIT"."""
    time_in_force: str
    """"GTC", "IOC" or "FOK"."""
    quantity: Decimal
    """Base units. What a `quote_quantity` buys is known once the order is placed."""
    price: Decimal
    """The limit, in quote units; zero for a market order."""
    created_ms: int
    """When it was placed (Unix milliseconds by the venue's clock)."""
    updated_ms: int
    """When it last changed."""
    matched_to_ms: int
    """Bars that open before this time have been matched."""
    stop_price: Decimal = ZERO
    """The last price that sets a stop order to work; zero for an order without a stop."""
    triggered_ms: int = 0
    """When the last price reached the stop; 0 until then."""
    quote_quantity: Decimal = ZERO
    """What a market order is to spend or receive (quote units), in place of a quantity."""
    self_trade_prevention: str = "NONE"
    """Binance's mode. Orders trade with the candles, never with each other: all modes are alike."""
    strategy_id: int | None = None
    """A label of the client's; None where it gave none."""
    strategy_type: int | None = None
    """Another one."""
    status: PracticeOrderStatus = PracticeOrderStatus.NEW
    """Its state."""
    executed: Decimal = ZERO
    """Base units filled."""
    executed_quote: Decimal = ZERO
    """The notional of these fills (quote units)."""
    locked: Decimal = ZERO
    """What its open part reserves: quote units for a buy, base units for a sell."""
    hidden_until: float = 0.0
    """Queries do not find the order before this time (the machine's monotonic seconds)."""
    hidden_until_ms: int = 0
    """The same by the venue's own clock."""

    @property
    def remaining(self) -> Decimal:
        """The open quantity (base units)."""
        return self.quantity - self.executed

    @property
    def limit(self) -> Decimal | None:
        """The limit price; None for a market order and for a stop that becomes one."""
        return self.price or None

    @property
    def is_waiting(self) -> bool:
        """Whether a stop keeps the order off the book."""
        return bool(self.stop_price) and not self.triggered_ms

    @property
    def working_ms(self) -> int:
        """When the order came to the book; -1 while a stop keeps it off."""
        if not self.stop_price:
            return self.created_ms
        return self.triggered_ms or -1

    @property
    def rises(self) -> bool:
        """Whether a stop is reached from below: a buy's stop loss, a sell's take profit."""
        return (self.type in _STOP_LOSSES) == (self.side is Side.BUY)


@dataclass(frozen=True)
class PracticeTrade:
    """One execution."""

    trade_id: int
    """The venue's trade id."""
    order_id: int
    """The venue's id of its order."""
    symbol: str
    """As Binance writes it: "BTCUSDT"."""
    side: Side
    """The side of the order."""
    price: Decimal
    """Quote units per base unit."""
    quantity: Decimal
    """Base units."""
    commission: Decimal
    """In `commission_asset`."""
    commission_asset: str
    """The asset of the commission."""
    at_ms: int
    """When it was made (Unix milliseconds by the venue's clock)."""
    is_maker: bool
    """Whether the order rested."""


@dataclass
class PracticeAccount:
    """One API key's account.

    A client order id is taken again once its order has ended, as at Binance. It then names the
    newest order.
    """

    api_key: str
    """The key that names the account."""
    secret: str
    """The key that signs its requests."""
    balances: Balances = field(default_factory=Balances)
    """Its balances."""
    orders: dict[int, PracticeOrder] = field(default_factory=dict)
    """Its orders by order id."""
    order_ids: dict[str, int] = field(default_factory=dict)
    """Order ids by client order id."""
    open_ids: dict[int, None] = field(default_factory=dict)
    """The ids of open orders, oldest first."""
    trades: dict[str, list[PracticeTrade]] = field(default_factory=dict)
    """Its trades by symbol."""

    def keep(self, order: PracticeOrder) -> None:
        """Store the order, or its new state."""
        self.orders[order.order_id] = order
        self.order_ids[order.client_id] = order.order_id
        if order.status.is_open:
            self.open_ids[order.order_id] = None
        else:
            self.open_ids.pop(order.order_id, None)


_NOT_KEPT = ("hidden_until", "hidden_until_ms")
_AMOUNTS = (
    "quantity",
    "price",
    "executed",
    "executed_quote",
    "locked",
    "stop_price",
    "quote_quantity",
)


def plain(record: PracticeOrder | PracticeTrade) -> dict[str, Any]:
    """Return an order or trade as plain JSON values, for the journal."""
    values = {
        each.name: getattr(record, each.name)
        for each in fields(record)
        if each.name not in _NOT_KEPT
    }
    return {
        **{k: str(v) if isinstance(v, Decimal) else v for k, v in values.items()},
        "side": record.side.name,
    }


def order_from(values: dict[str, Any]) -> PracticeOrder:
    """Return the order of a journal entry's `order`."""
    typed = {
        **{name: Decimal(values[name]) for name in _AMOUNTS if name in values},
        "side": Side[values["side"]],
        "status": PracticeOrderStatus(values["status"]),
    }
    return PracticeOrder(**{**values, **typed})


def trade_from(values: dict[str, Any]) -> PracticeTrade:
    """Return the trade of a journal entry's `trade`."""
    names = ("price", "quantity", "commission")
    typed = {
        **{name: Decimal(values[name]) for name in names},
        "side": Side[values["side"]],
    }
    return PracticeTrade(**{**values, **typed})
