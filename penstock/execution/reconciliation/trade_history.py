"""One symbol's trades as the venue lists them and as the ledger has them, and where both differ.

Which breaks follow is for penstock.execution.reconciliation.trade_findings.
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

#: Where a gap has no trade behind it, the venue is asked about so many orders of a symbol that were
#: filled with less than their quantity, newest first.
_SHORT_ASKED = 100
#: It is also asked about so many orders of the fills that are compared, newest first: the venue may
#: have filled them further.
_RECENT_ASKED = 20
#: How far back a trade that came late is looked for where no order says from when on to look.
_LATEST = timedelta(days=1)


@dataclass
class TradeHistory:
    """One symbol's trades from `since` on, on both sides."""

    session: AccountSession
    """The account."""

    symbol: str
    """The symbol."""

    since: datetime
    """From when on trades are compared."""

    due_since: datetime | None = None
    """From when on the ledger's fills were never compared; None where all were.

    Those must be in the venue's list. Earlier ones once were in it, and are missed only where
    balances differ.
    """

    venue: list[Fill] = field(default_factory=list)
    """The venue's trades, ours and others'."""

    ledger: list[Fill] = field(default_factory=list)
    """The ledger's fills."""

    listed: bool = True
    """Whether the venue lists the symbol. Nothing follows from what it does not answer."""

    back_to: datetime | None = None
    """From when on late trades are looked for, where that is earlier than `since`."""

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
        """Ask for trades that were made before the window and shown after it had moved on.

        Their orders say from when on to look. Where none does, the trades are someone else's, or of
        orders that the venue forgot. Then a day is looked back, but not past `begun`, when the
        account was taken over.
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

        A venue that shows no fee contradicts none.
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
        """Return the ledger's fills from `since` on that the venue does not list; none where there
        is nothing to compare.
        """
        listed = {fill.trade_id for fill in self.venue}
        return [
            fill
            for fill in self.ledger
            if since is not None and fill.trade_id not in listed and fill.at >= since
        ]

    def not_shown(self) -> list[tuple[OrderRecord, Decimal]]:
        """Return our orders of which the venue says that more was filled than the ledger has, and
        by how much.
        """
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
        """Return how much of the order the venue says it filled; None where it does not
        know the order.
        """
        if name not in self._filled:
            try:
                self._filled[name] = self.session.find_named(name, self.symbol).filled_quantity
            except (OrderNotFoundError, UnknownSymbolError):
                self._filled[name] = None
        return self._filled[name]


def same_trade(fill: Fill, other: Fill) -> bool:
    """Return whether side, quantity and price are the same."""
    return (fill.side, fill.quantity, fill.price) == (other.side, other.quantity, other.price)
