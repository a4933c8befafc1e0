"""What Penstock needs of the record of an account's orders, and of the orders that are worked over
time.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from penstock.core.leases import Lease
from penstock.core.order_records import OrderIntent, OrderRecord
from penstock.core.orders import EndCause, Fill, OrderEvent, OrderEventKind, OrderState
from penstock.core.parent_orders import ParentOrder
from penstock.core.rebalances import AccountTotals, Rebalance, RebalanceStatus


class Ledger(Protocol):
    """The write-ahead record of an account's orders. Append-only events; orders, balances and positions are
    read models of them.

    Every write takes the lease and is refused with StaleLeaseError, by the database, once a later
    lease exists.
    """

    def open_account(self, account: str, exchange: str, quote: str) -> None:
        """Create the account; opening it again changes nothing."""
        ...

    def acquire_lease(self, account: str, holder: str, ttl_seconds: float) -> Lease | None:
        """Return a lease with a new, higher token, or None while another holder's lease is alive.

        The same holder may acquire again (renew); its older token is void then.
        """
        ...

    def release_lease(self, lease: Lease) -> None:
        """Let go of the lease; releasing a stale one changes nothing."""
        ...

    def start_rebalance(self, lease: Lease, slot: datetime, portfolio_version: str) -> Rebalance:
        """Return the rebalance of (account, slot), created as RUNNING where there is none yet."""
        ...

    def end_rebalance(
        self, lease: Lease, rebalance_id: int, status: RebalanceStatus, reason: str = ""
    ) -> None:
        """Set the final status of a rebalance; RUNNING keeps why a run of it stopped short, and
        leaves it open.
        """
        ...

    def rebalances(self, account: str, limit: int = 100) -> Sequence[Rebalance]:
        """Return the newest rebalances first."""
        ...

    def slots_of(self, account: str, rebalance_ids: Collection[int]) -> Mapping[int, datetime]:
        """Return the slot of each of these rebalances of the account."""
        ...

    def beginning(self, account: str, opening_reason: str) -> datetime | None:
        """Return when the last adjustment with this reason was booked, else the first slot; None
        where there is neither.
        """
        ...

    def record_targets(self, lease: Lease, rebalance_id: int, targets: Mapping[str, float]) -> None:
        """Keep the target weights (fractions of equity by symbol) that a rebalance works towards."""
        ...

    def plan_orders(
        self,
        lease: Lease,
        rebalance_id: int,
        orders: Sequence[OrderIntent],
        at: datetime | None = None,
    ) -> None:
        """Commit the intents as PLANNED, all or none, stamped `at` (default: the database's time).

        An intent whose client order id exists already is left as it is. StoreError, and nothing
        written, where one stands twice in `orders` or belongs to another account.
        """
        ...

    def write_ahead(
        self,
        lease: Lease,
        rebalance_id: int,
        orders: Sequence[OrderIntent],
        events: Sequence[OrderEvent],
        at: datetime | None = None,
    ) -> None:
        """Commit the intents as plan_orders does and, in the same transaction, the events that they
        begin with.

        Raises as record_events does: an intent that exists already and has begun refuses to begin
        again.
        """
        ...

    def record_event(
        self,
        lease: Lease,
        client_order_id: str,
        event: OrderEventKind,
        at: datetime,
        reason: str = "",
        venue_order_id: str = "",
        end_cause: EndCause | None = None,
    ) -> OrderState:
        """Append the event and move the order along the table; return the new state.

        An illegal event is appended with its refusal and raises IllegalTransitionError. Fills go
        through book_fill.
        """
        ...

    def book_fill(self, lease: Lease, fill: Fill) -> bool:
        """Append the fill, its order event and the balance changes in one transaction; False where
        it is booked already.

        Keyed by (account, symbol, venue trade id). A fill beyond the order's quantity is booked as
        it is.
        """
        ...

    def record_events(self, lease: Lease, events: Sequence[OrderEvent]) -> Sequence[OrderState]:
        """Append the events in their order, in one transaction; return the state that each one led
        to.

        As record_event, many at once: illegal events are appended with their refusal, the others
        take effect, and then IllegalTransitionError names the illegal ones. StoreError (an unknown
        order, a fill event) leaves nothing.
        """
        ...

    def book_fills(self, lease: Lease, fills: Sequence[Fill]) -> Sequence[Fill]:
        """Append the fills in their order, in one transaction; return those that were not booked
        before.

        As book_fill, many at once: refused fills are appended as refused events, the others are
        booked, and then IllegalTransitionError names the refused ones. StoreError (an unknown
        order) leaves nothing.
        """
        ...

    def book_adjustment(
        self, lease: Lease, asset: str, quantity: Decimal, reason: str, at: datetime
    ) -> None:
        """Append a change of a balance that no fill explains: opening balance, deposit,
        withdrawal, accepted break.
        """
        ...

    def orders(
        self,
        account: str,
        unfinished_only: bool = False,
        rebalance_id: int | None = None,
        overfilled_only: bool = False,
    ) -> Sequence[OrderRecord]:
        """Return the account's orders, oldest first. Overfilled are those that were filled beyond
        their quantity.
        """
        ...

    def orders_named(self, account: str, names: Collection[str]) -> Sequence[OrderRecord]:
        """Return those of the account's orders that have one of these client order ids, oldest
        first.
        """
        ...

    def short_orders(self, account: str, symbol: str, limit: int) -> Sequence[OrderRecord]:
        """Return the newest orders of a symbol that were sent and filled with less than their
        quantity, newest first.
        """
        ...

    def fills(
        self, account: str, symbol: str | None = None, since: datetime | None = None
    ) -> Sequence[Fill]:
        """Return the account's booked fills that were traded at or after `since`, oldest first."""
        ...

    def entry_prices(self, account: str) -> Mapping[str, Decimal]:
        """Return the average price paid for what is held, by symbol, exactly as
        penstock.core.cost_basis says of all fills.

        It costs the same however old the account is, and does not depend on the order in which
        fills arrived.
        """
        ...

    def totals(self, account: str) -> AccountTotals:
        """Return how much the account has done."""
        ...

    def balances(self, account: str) -> Mapping[str, Decimal]:
        """Return what the account has of every asset, the quote asset included, without zeros."""
        ...

    def positions(self, account: str) -> Mapping[str, Decimal]:
        """Return the signed quantity of every open position by instrument symbol.

        Only perpetuals have positions: what spot trading moves is in `balances`.
        """
        ...


class ParentOrderStore(Protocol):
    """The record of orders that are worked over time: the parents of child orders. Append-only,
    fenced like the ledger.
    """

    def begin_work(self, lease: Lease, orders: Sequence[ParentOrder]) -> None:
        """Commit the parents, all or none. One that its (rebalance, symbol, phase) has already is
        left as it is.
        """
        ...

    def work_of(self, rebalance_id: int) -> Sequence[ParentOrder]:
        """Return the parents of a rebalance, in the order in which they were begun."""
        ...
