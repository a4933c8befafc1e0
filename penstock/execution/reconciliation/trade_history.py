"""One symbol's trades in the venue's list and in the ledger, and where the two differ.

penstock.execution.reconciliation.trade_findings decides which breaks follow.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from penstock.core.errors import OrderNotFoundError, UnknownSymbolError
from penstock.core.instruments import spot_assets
from penstock.core.order_records import OrderRecord
from penstock.core.orders import Fill
from penstock.execution.orders.track import TRADES_MARGIN
from penstock.execution.session import AccountSession

#: For a gap without a trade, the venue is asked about this many incompletely filled orders of a
#: symbol, newest first.
_SHORT_ASKED = 100
#: It is also asked about this many orders of the compared fills, newest first. The venue may have
#: filled them further.
_RECENT_ASKED = 20
#: How far back late trades are read where no order gives a time.
_LATEST = timedelta(days=1)


@dataclass
class TradeHistory:
    """One symbol's trades from `since` on, on both sides."""

    session: AccountSession
    """The account."""

    symbol: str
    """The symbol."""

    since: datetime
    """The time from which trades are compared."""

    due_since: datetime | None = None
    """The time from which the ledger's fills were never compared; None where all were.

    Those must be in the venue's list. Earlier fills were in it before, and may be missing now where
    balances agree.
    """

    venue: list[Fill] = field(default_factory=list)
    """The venue's trades, ours and others'."""

    ledger: list[Fill] = field(default_factory=list)
    """The ledger's fills."""

    listed: bool = True
    """Whether the venue lists the symbol. Where it does not, no break follows."""

    back_to: datetime | None = None
    """The time from which late trades are read, where that is earlier than `since`."""

    _filled: dict[str, Decimal | None] = field(default_factory=dict)

    def ask(self) -> "TradeHistory":
        """Read the venue's side."""
        try:
            self.venue = list(self.session.exchange.fills(self.symbol, self._asked_from))
            self.listed = True
        except UnknownSymbolError:
            self.venue, self.listed = [], False
        return self

    def recall(self) -> "TradeHistory":
        """Read the ledger's side."""
        self.ledger = list(
            self.session.ledger.fills(self.session.account, self.symbol, self._asked_from)
        )
        return self

    def look_back(self, begun: datetime) -> None:
        """Read earlier trades too: those that the venue showed late.

        They are read from the creation of the oldest order that lacks a fill. Without such an order
        they are read from one day before `since`, but not from before `begun` (the take-over).
        """
        created = [order.created_at for order, _ in self.not_shown()]
        self.back_to = min(created, default=max(begun, self.since - _LATEST))
        if self.back_to < self.since:
            self.ask().recall()

    @property
    def base(self) -> str:
        """The symbol's base asset."""
        return spot_assets(self.symbol)[0]

    @property
    def _asked_from(self) -> datetime:
        return min(self.since, self.back_to or self.since) - TRADES_MARGIN

    @property
    def agrees(self) -> bool:
        """Whether both sides have the same trades, with the same figures."""
        known = {fill.trade_id for fill in self.ledger}
        return not self.listed or (
            all(fill.trade_id in known for fill in self.venue)
            and not self.unlisted(self.due_since)
            and not self.differing()
        )

    def differing(self) -> list[tuple[Fill, Fill]]:
        """Return the pairs, ours and theirs, whose figures differ.

        Where the venue shows no fee, the fee is not compared.
        """
        listed = {fill.trade_id: fill for fill in self.venue}
        pairs = [(ours, listed[ours.trade_id]) for ours in self.ledger if ours.trade_id in listed]
        return [
            (ours, theirs)
            for ours, theirs in pairs
            if not same_trade(ours, theirs)
            or (theirs.fee and (ours.fee, ours.fee_asset) != (theirs.fee, theirs.fee_asset))
        ]

    def unlisted(self, since: datetime | None) -> list[Fill]:
        """Return the ledger's fills from `since` on that the venue does not list.

        None are returned where `since` is None.
        """
        listed = {fill.trade_id for fill in self.venue}
        return [
            fill
            for fill in self.ledger
            if since is not None and fill.trade_id not in listed and fill.at >= since
        ]

    def not_shown(self) -> list[tuple[OrderRecord, Decimal]]:
        """Return our orders that the venue has filled further than the ledger, and by how much."""
        account, ledger = self.session.account, self.session.ledger
        recent = list({fill.client_order_id: None for fill in self.ledger[::-1]})[:_RECENT_ASKED]
        orders = {
            order.request.client_order_id: order for order in ledger.orders_named(account, recent)
        }
        orders |= {
            order.request.client_order_id: order
            for order in ledger.short_orders(account, self.symbol, _SHORT_ASKED)
        }
        asked = [(order, self.filled_at_venue(name)) for name, order in orders.items()]
        return [
            (order, filled - order.filled_quantity)
            for order, filled in asked
            if filled and filled > order.filled_quantity
        ]

    def filled_at_venue(self, name: str) -> Decimal | None:
        """Return the order's filled quantity at the venue; None where it knows no such order."""
        if name not in self._filled:
            try:
                self._filled[name] = self.session.find_named(name, self.symbol).filled_quantity
            except (OrderNotFoundError, UnknownSymbolError):
                self._filled[name] = None
        return self._filled[name]


def same_trade(fill: Fill, other: Fill) -> bool:
    """Return whether side, quantity and price are the same."""
    return (fill.side, fill.quantity, fill.price) == (other.side, other.quantity, other.price)
