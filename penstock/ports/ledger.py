"""What Penstock needs of the record of an account's orders and of its parent orders."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from penstock.core.account_totals import AccountTotals
from penstock.core.alerts import Alert
from penstock.core.cost_basis import CostBasis
from penstock.core.leases import Lease
from penstock.core.order_records import OrderIntent, OrderRecord
from penstock.core.orders import EndCause, Fill, OrderEvent, OrderEventKind, OrderState
from penstock.core.parent_orders import ParentOrder
from penstock.core.rebalances import Rebalance, RebalanceStatus, SlotEquity


class LeaseStore(Protocol):
    """Accounts, and who may write for each. Raises as Ledger does."""

    def open_account(self, account: str, exchange: str, quote: str) -> None:
        """Create the account. An account that exists is left as it is."""
        ...

    def acquire_lease(self, account: str, holder: str, ttl_seconds: float) -> Lease | None:
        """Return a lease with a new, higher token, or None while another holder has one.

        The lease lives for `ttl_seconds`. Its holder may acquire again to renew it; the older token
        is void then.
        """
        ...

    def release_lease(self, lease: Lease) -> None:
        """End the lease. A stale one changes nothing."""
        ...


class RebalanceStore(Protocol):
    """The slots of an account, and what became of each. Raises as Ledger does."""

    def start_rebalance(self, lease: Lease, slot: datetime, portfolio_version: str) -> Rebalance:
        """Return the rebalance of (account, slot). Where there is none it is created as RUNNING."""
        ...

    def end_rebalance(
        self,
        lease: Lease,
        rebalance_id: int,
        status: RebalanceStatus,
        reason: str = "",
        alerts: Sequence[Alert] = (),
        equity: SlotEquity | None = None,
        *,
        releases_lease: bool = False,
    ) -> None:
        """Set the status of a rebalance and its reason, put `alerts` about it into the outbox,
        record `equity` as RiskStore.record_equity does, and end the lease where that is asked for,
        all or none.

        RUNNING leaves it open; the reason then says why a run of it stopped.
        """
        ...

    def record_targets(self, lease: Lease, rebalance_id: int, targets: Mapping[str, float]) -> None:
        """Keep the target weights of a rebalance: fractions of equity, by symbol."""
        ...

    def rebalances(self, account: str, limit: int = 100) -> Sequence[Rebalance]:
        """Return at most `limit` rebalances, the newest slot first."""
        ...

    def slots_of(self, account: str, rebalance_ids: Collection[int]) -> Mapping[int, datetime]:
        """Return the slot of each of these rebalances of the account."""
        ...

    def beginning(self, account: str, opening_reason: str) -> datetime | None:
        """Return when the last adjustment with this reason was booked, else the first slot.

        None where there is neither.
        """
        ...


class OrderWriter(Protocol):
    """What is written of orders, fills and adjustments. Raises as Ledger does.

    Nothing is changed later: orders, balances and positions follow from what is added here.
    """

    def plan_orders(
        self,
        lease: Lease,
        rebalance_id: int,
        orders: Sequence[OrderIntent],
        at: datetime | None = None,
    ) -> None:
        """Commit the intents as PLANNED, all or none, stamped `at` (default: the database's time).

        An order whose client order id exists already is left as it is. Raises StoreError, and
        writes nothing, where an id occurs twice in `orders` or belongs to another account.
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
        """Commit the intents as plan_orders does, and `events` in the same transaction.

        Raises as record_events does: an order that has been submitted refuses a second SUBMIT.
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
        """Append the event, and return the state that the order machine leads to.

        `at` is when it happened, `end_cause` why the order ends by it. An illegal event is appended
        with its refusal, and raises IllegalTransitionError. Fills are booked with book_fill.
        """
        ...

    def record_events(self, lease: Lease, events: Sequence[OrderEvent]) -> Sequence[OrderState]:
        """Append the events in their order, in one transaction; return the state after each.

        Illegal events are appended with their refusal, and the others take effect. Then
        IllegalTransitionError names the illegal ones. Raises StoreError, and writes nothing, where
        an order is unknown or an event is a fill.
        """
        ...

    def book_fill(self, lease: Lease, fill: Fill) -> bool:
        """Append the fill, its order event and the balance changes, in one transaction.

        Returns False where it is booked already: the key is account, symbol and the venue's trade
        id. A fill beyond the order's quantity is booked as it is.
        """
        ...

    def book_fills(
        self, lease: Lease, fills: Sequence[Fill], events: Sequence[OrderEvent] = ()
    ) -> Sequence[Fill]:
        """Append `events`, then the fills in their order, in one transaction; return the new fills.

        `events` are as record_events has them.
        Illegal fills are appended as refused events, and the others are booked. Then
        IllegalTransitionError names the illegal ones. Raises StoreError, and writes nothing, where
        an order is unknown.
        """
        ...

    def book_adjustment(
        self, lease: Lease, asset: str, quantity: Decimal, reason: str, at: datetime
    ) -> None:
        """Append a change of a balance that no fill explains.

        That is an opening balance, or what an accepted break changes. `quantity` is in units of the
        asset, above zero for what came in.
        """
        ...


class OrderReader(Protocol):
    """The orders and fills of an account. Raises as Ledger does."""

    def orders(
        self,
        account: str,
        unfinished_only: bool = False,
        rebalance_id: int | None = None,
    ) -> Sequence[OrderRecord]:
        """Return the account's orders, the oldest first.

        `unfinished_only` leaves out those in a final state. `rebalance_id` chooses those of one
        rebalance.
        """
        ...

    def unsettled_orders(self, account: str) -> Sequence[OrderRecord]:
        """Return the account's orders that are in no final state or were filled beyond their
        quantity, the oldest first.
        """
        ...

    def newest_orders(self, account: str, limit: int) -> Sequence[OrderRecord]:
        """Return the account's `limit` newest orders, the oldest of them first."""
        ...

    def orders_named(self, account: str, names: Collection[str]) -> Sequence[OrderRecord]:
        """Return the account's orders with one of these client order ids, the oldest first."""
        ...

    def short_orders(self, account: str, symbol: str, limit: int) -> Sequence[OrderRecord]:
        """Return at most `limit` orders of a symbol that were sent and not filled whole.

        The newest is first.
        """
        ...

    def fills(
        self, account: str, symbol: str | None = None, since: datetime | None = None
    ) -> Sequence[Fill]:
        """Return the account's fills that were traded at or after `since`, the oldest first."""
        ...


class HoldingsReader(Protocol):
    """What an account has, what it paid for it, and how much it has done.

    Raises as Ledger does.
    """

    def balances(self, account: str) -> Mapping[str, Decimal]:
        """Return what the account has, by asset, the quote asset included. Zeros are absent."""
        ...

    def positions(self, account: str) -> Mapping[str, Decimal]:
        """Return the signed quantity of every open position, by symbol.

        Only perpetuals have positions. What spot trading changes is in `balances`.
        """
        ...

    def cost_bases(self, account: str) -> Mapping[str, CostBasis]:
        """Return what is held by the fills alone and what was paid for it, by symbol.

        It is what penstock.core.cost_basis makes of all fills, exactly, in whatever order they
        arrived.
        """
        ...

    def totals(self, account: str) -> AccountTotals:
        """Return how much the account has done."""
        ...


class Ledger(LeaseStore, RebalanceStore, OrderWriter, OrderReader, HoldingsReader, Protocol):
    """The write-ahead record of an account's orders.

    Events and fills are only added. Orders, balances and positions are read models of them.

    Every method raises StoreError where the database fails. Every write takes the account's lease.
    The database refuses it with StaleLeaseError once a later lease exists. Quantities of spot
    orders are in base units, prices in quote units.
    """


class ParentOrderStore(Protocol):
    """The record of parent orders. They are only added.

    Errors and the lease are as Ledger has them.
    """

    def begin_work(
        self,
        lease: Lease,
        parents: Sequence[ParentOrder],
        orders: Sequence[OrderIntent] = (),
        events: Sequence[OrderEvent] = (),
        at: datetime | None = None,
    ) -> None:
        """Commit the parents, all or none.

        Where a (rebalance, symbol, phase) has a parent already, that one is left as it is.
        `orders`, `events` and `at` are as Ledger.write_ahead has them, for the rebalance of the
        parents: children that leave at once are committed with their parents, all or none.
        """
        ...

    def work_of(self, rebalance_id: int) -> Sequence[ParentOrder]:
        """Return the parents of a rebalance, in the order in which they were begun."""
        ...
