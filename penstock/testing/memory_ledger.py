"""Ledger in memory."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal, localcontext

from penstock.core.account_totals import TOTALS, AccountTotals
from penstock.core.accounting import EXACT, changes_of
from penstock.core.alerts import Alert
from penstock.core.clock import Clock
from penstock.core.cost_basis import CostBasis, cost_bases
from penstock.core.errors import (
    IllegalTransitionError,
    StaleLeaseError,
    StoreError,
    UnknownAccountError,
)
from penstock.core.leases import Lease
from penstock.core.order_records import OrderIntent, OrderRecord
from penstock.core.orders import (
    EndCause,
    Fill,
    OrderEvent,
    OrderEventKind,
    OrderState,
)
from penstock.core.rebalances import Rebalance, RebalanceStatus, SlotEquity
from penstock.testing.instruments import SLOT


@contextmanager
def all_or_nothing(*stores: object, undone_by: type[Exception] = StoreError) -> Iterator[None]:
    """Undo what the block recorded in the stores, where StoreError or `undone_by` ends it."""
    before = [
        {name: copy(value) for name, value in vars(store).items() if isinstance(value, dict | list)}
        for store in stores
    ]
    try:
        yield
    except (StoreError, undone_by):
        for store, fields in zip(stores, before, strict=True):
            vars(store).update(fields)
        raise


@dataclass
class MemoryLedger:
    """Ledger in memory, of one account: a second one is refused.

    tests/contracts hold it to the port, together with PostgreSQL. Tests may look at its fields and
    change them.
    """

    clock: Clock
    account: str = ""
    exchange: tuple[str, str] = ("", "")
    """The name of the account's venue, and its quote asset."""
    token: int = 0
    holder: str = ""
    """Who has the lease; "" where it is free."""
    expires_at: datetime = SLOT
    slots: dict[datetime, Rebalance] = field(default_factory=dict)
    slot_alerts: list[Alert] = field(default_factory=list)
    book: dict[str, OrderRecord] = field(default_factory=dict)
    events: list[tuple[str, OrderEventKind]] = field(default_factory=list)
    trades: dict[tuple[str, str], Fill] = field(default_factory=dict)
    held: dict[str, Decimal] = field(default_factory=dict)
    adjusted: list[tuple[datetime, str]] = field(default_factory=list)
    targets: dict[datetime, Mapping[str, float]] = field(default_factory=dict)
    keep_equity: Callable[[SlotEquity], None] = lambda _: None
    """Where the equity of a slot goes: the control store beside this ledger sets it."""
    writes: int = 0
    """How many writes were asked for, those of the stores beside this ledger included."""

    def require_newest(self, lease: Lease) -> None:
        """Raise StaleLeaseError where a later lease exists. Every write asks this first."""
        self.writes += 1
        self._require(lease.account)
        if lease.token != self.token:
            raise StaleLeaseError(
                f"the lease of account '{lease.account}' with token {lease.token} "
                f"was replaced by token {self.token}"
            )

    def _require(self, account: str) -> None:
        if account != self.account:
            raise UnknownAccountError(
                f"account '{account}' is not in the ledger: its first reconciliation or "
                "rebalance begins it"
            )

    def open_account(self, account: str, exchange: str, quote: str) -> None:
        if self.account not in ("", account):
            raise StoreError(f"this ledger keeps '{self.account}' alone, not '{account}' as well")
        if self.account and self.exchange != (exchange, quote):
            raise StoreError(
                f"account '{account}' belongs to {self.exchange}, not to ({exchange}, {quote})"
            )
        self.account, self.exchange = account, (exchange, quote)

    def acquire_lease(self, account: str, holder: str, ttl_seconds: float) -> Lease | None:
        self._require(account)
        now = self.clock.now()
        if self.holder not in ("", holder) and now < self.expires_at:
            return None
        self.holder, self.token = holder, self.token + 1
        self.expires_at = now + timedelta(seconds=ttl_seconds)
        return Lease(account, holder, self.token, self.expires_at)

    def release_lease(self, lease: Lease) -> None:
        if lease.token == self.token:
            self.holder = ""

    def start_rebalance(self, lease: Lease, slot: datetime, portfolio_version: str) -> Rebalance:
        self.require_newest(lease)
        new = Rebalance(
            len(self.slots) + 1, lease.account, slot, portfolio_version, RebalanceStatus.RUNNING
        )
        return self.slots.setdefault(slot, new)

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
        self.require_newest(lease)
        if rebalance_id not in {found.id for found in self.slots.values()}:
            raise StoreError(f"rebalance {rebalance_id} is not one of account '{lease.account}'")
        self.slot_alerts += alerts
        if equity is not None:
            self.keep_equity(equity)
        for slot, found in self.slots.items():
            if found.id == rebalance_id:
                self.slots[slot] = replace(found, status=status, reason=reason)
        if releases_lease:
            self.release_lease(lease)

    def rebalances(self, account: str, limit: int = 100) -> Sequence[Rebalance]:
        if account != self.account:
            return []
        return sorted(self.slots.values(), key=lambda r: r.slot, reverse=True)[:limit]

    def slots_of(self, account: str, rebalance_ids: Collection[int]) -> Mapping[int, datetime]:
        return {found.id: slot for slot, found in self.slots.items() if found.id in rebalance_ids}

    def beginning(self, account: str, opening_reason: str) -> datetime | None:
        return max(
            (at for at, reason in self.adjusted if reason == opening_reason),
            default=min(self.slots, default=None),
        )

    def record_targets(self, lease: Lease, rebalance_id: int, targets: Mapping[str, float]) -> None:
        self.require_newest(lease)
        self.targets[
            next(slot for slot, found in self.slots.items() if found.id == rebalance_id)
        ] = targets

    def plan_orders(
        self,
        lease: Lease,
        rebalance_id: int,
        orders: Sequence[OrderIntent],
        at: datetime | None = None,
    ) -> None:
        self.require_newest(lease)
        names = [each.request.client_order_id for each in orders]
        twins = [name for name, times in Counter(names).items() if times > 1]
        if twins:
            raise StoreError(
                f"{len(twins)} client order ids stand twice in one batch, first '{twins[0]}'"
            )
        if any(each.request.quantity <= 0 for each in orders):
            raise StoreError("an order has a quantity above zero")
        for each in orders:
            planned_at = at or SLOT
            record = OrderRecord(
                account=lease.account,
                rebalance_id=rebalance_id,
                request=each.request,
                phase=each.phase,
                child=each.child,
                attempt=each.attempt,
                strategy_version=each.strategy_version,
                reference_price=each.reference_price,
                created_at=planned_at,
                updated_at=planned_at,
            )
            self.book.setdefault(each.request.client_order_id, record)

    def write_ahead(
        self,
        lease: Lease,
        rebalance_id: int,
        orders: Sequence[OrderIntent],
        events: Sequence[OrderEvent],
        at: datetime | None = None,
    ) -> None:
        with all_or_nothing(self):
            self.plan_orders(lease, rebalance_id, orders, at)
            self.record_events(lease, events)

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
        entry = OrderEvent(client_order_id, event, at, reason, venue_order_id, end_cause)
        return self.record_events(lease, [entry])[0]

    def book_fill(self, lease: Lease, fill: Fill) -> bool:
        return bool(self.book_fills(lease, [fill]))

    def record_events(self, lease: Lease, events: Sequence[OrderEvent]) -> Sequence[OrderState]:
        self.require_newest(lease)
        states: list[OrderState] = []
        with all_or_nothing(self):
            refused = self._moved_by(events, states)
        if refused:
            raise IllegalTransitionError("; ".join(refused))
        return states

    def _moved_by(
        self, events: Sequence[OrderEvent], states: list[OrderState] | None = None
    ) -> list[str]:
        """Move the orders along; return what was refused, and add the state after each event."""
        refused = []
        for event in events:
            order = self._planned(event.client_order_id)
            if event.kind in (OrderEventKind.FILL, OrderEventKind.PARTIAL_FILL):
                raise StoreError(
                    f"event '{event.kind}' of order {event.client_order_id} moves a balance: "
                    "book the fill instead"
                )
            self.events.append((event.client_order_id, event.kind))
            try:
                self.book[event.client_order_id] = order.after_event(event)
            except IllegalTransitionError as error:
                refused.append(f"order {event.client_order_id}: {error}")
            if states is not None:
                states.append(self.book[event.client_order_id].state)
        return refused

    def book_fills(
        self, lease: Lease, fills: Sequence[Fill], events: Sequence[OrderEvent] = ()
    ) -> Sequence[Fill]:
        self.require_newest(lease)
        booked: list[Fill] = []
        with all_or_nothing(self), localcontext(EXACT):
            refused = self._moved_by(events)
            for fill in fills:
                if (fill.symbol, fill.trade_id) in self.trades:
                    continue
                order = self._planned(fill.client_order_id)
                try:
                    order = order.after_fill(fill, order.request.quantity)
                except IllegalTransitionError as error:
                    refused.append(
                        f"trade {fill.trade_id} of order {fill.client_order_id}: {error}"
                    )
                    continue
                self.book[fill.client_order_id] = order
                self.trades[fill.symbol, fill.trade_id] = fill
                for asset, change in changes_of(fill).items():
                    self._move(asset, change)
                booked.append(fill)
        if refused:
            raise IllegalTransitionError("; ".join(refused))
        return booked

    def _planned(self, client_order_id: str) -> OrderRecord:
        if client_order_id not in self.book:
            raise StoreError(
                f"account '{self.account}' has no order '{client_order_id}': it was never planned "
                "here; a trade that is not ours is reconciliation's to explain"
            )
        return self.book[client_order_id]

    def book_adjustment(
        self, lease: Lease, asset: str, quantity: Decimal, reason: str, at: datetime
    ) -> None:
        self.require_newest(lease)
        with localcontext(EXACT):
            self._move(asset, quantity)
        self.adjusted.append((at, reason))

    def _move(self, asset: str, change: Decimal) -> None:
        self.held[asset] = self.held.get(asset, Decimal(0)) + change

    def orders(
        self,
        account: str,
        unfinished_only: bool = False,
        rebalance_id: int | None = None,
    ) -> Sequence[OrderRecord]:
        return [
            order
            for order in self.book.values()
            if order.account == account
            and not (unfinished_only and order.state.is_final)
            and rebalance_id in (None, order.rebalance_id)
        ]

    def unsettled_orders(self, account: str) -> Sequence[OrderRecord]:
        return [
            order
            for order in self.orders(account)
            if not order.state.is_final or order.filled_quantity > order.request.quantity
        ]

    def newest_orders(self, account: str, limit: int) -> Sequence[OrderRecord]:
        return self.orders(account)[-limit:]

    def orders_named(self, account: str, names: Collection[str]) -> Sequence[OrderRecord]:
        if account != self.account:
            return []
        return [order for name, order in self.book.items() if name in names]

    def short_orders(self, account: str, symbol: str, limit: int) -> Sequence[OrderRecord]:
        if account != self.account:
            return []
        short = [
            order
            for order in self.book.values()
            if order.request.symbol == symbol
            and order.filled_quantity < order.request.quantity
            and order.state is not OrderState.PLANNED
        ]
        return short[::-1][:limit]

    def fills(
        self, account: str, symbol: str | None = None, since: datetime | None = None
    ) -> Sequence[Fill]:
        if account != self.account:
            return []
        return [
            fill
            for fill in self.trades.values()
            if symbol in (None, fill.symbol) and (since is None or fill.at >= since)
        ]

    def cost_bases(self, account: str) -> Mapping[str, CostBasis]:
        return cost_bases(self.fills(account))

    def totals(self, account: str) -> AccountTotals:
        if account != self.account:
            return AccountTotals({})
        rows: dict[type, Collection[OrderRecord | Fill]] = {
            OrderRecord: self.book.values(),
            Fill: self.trades.values(),
        }
        return AccountTotals.of(
            Counter(found.status for found in self.slots.values()),
            {name: total.over(rows[total.of]) for name, total in TOTALS.items()},
        )

    def balances(self, account: str) -> Mapping[str, Decimal]:
        if account != self.account:
            return {}
        return {asset: quantity for asset, quantity in self.held.items() if quantity}

    def positions(self, account: str) -> Mapping[str, Decimal]:
        return {}  # spot trading moves balances alone
