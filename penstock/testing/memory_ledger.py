"""Ledger and control store in memory."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl

from penstock.core.accounting import changes_of
from penstock.core.alerts import Alert, break_alert, state_alert
from penstock.core.breaks import Break, BreakAcceptance, BreakKind, Settlement, TradeMark
from penstock.core.clock import Clock
from penstock.core.cost_basis import entry_prices
from penstock.core.errors import (
    StaleLeaseError,
    StoreError,
)
from penstock.core.halts import Halt, TradingState, stricter
from penstock.core.instruments import Instrument
from penstock.core.leases import Lease
from penstock.core.order_records import OrderIntent, OrderRecord
from penstock.core.orders import (
    EndCause,
    Fill,
    OrderEvent,
    OrderEventKind,
    OrderState,
)
from penstock.core.rebalances import AccountTotals, Rebalance, RebalanceStatus
from penstock.core.risk_records import PositionMark, RiskHistory, RiskVerdict
from penstock.risk.memory import AccountMemory
from penstock.testing.instruments import SLOT


@dataclass
class MemoryLedger:
    """Ledger and ControlStore in memory: one account, tokens checked, events applied by the
    machine.
    """

    clock: Clock
    token: int = 0
    holder: str = ""
    slots: dict[datetime, Rebalance] = field(default_factory=dict)
    book: dict[str, OrderRecord] = field(default_factory=dict)
    events: list[tuple[str, OrderEventKind]] = field(default_factory=list)
    trades: dict[tuple[str, str], Fill] = field(default_factory=dict)
    held: dict[str, Decimal] = field(default_factory=dict)
    adjusted: list[tuple[datetime, str]] = field(default_factory=list)
    breaks: dict[tuple[str, BreakKind], Break] = field(default_factory=dict)
    outbox: list[Alert] = field(default_factory=list)
    halt: Halt = field(default_factory=lambda: Halt("test", TradingState.ACTIVE, "", "", SLOT))
    equity: dict[datetime, Decimal] = field(default_factory=dict)
    memory: AccountMemory = field(
        default_factory=lambda: AccountMemory(Halt("test", TradingState.ACTIVE, "", "", SLOT))
    )
    targets: dict[datetime, Mapping[str, float]] = field(default_factory=dict)
    verdicts: list[RiskVerdict] = field(default_factory=list)
    instruments: dict[str, Instrument] = field(default_factory=dict)
    accepted: list[BreakAcceptance] = field(default_factory=list)
    compared: dict[str, int] = field(default_factory=dict)
    writes: int = 0

    def _check(self, lease: Lease) -> None:
        self.writes += 1
        if lease.token != self.token:
            raise StaleLeaseError(f"token {lease.token} is stale: {self.token} is the newest")

    def open_account(self, account: str, exchange: str, quote: str) -> None: ...

    def acquire_lease(self, account: str, holder: str, ttl_seconds: float) -> Lease | None:
        if self.holder and self.holder != holder:
            return None
        self.holder, self.token = holder, self.token + 1
        return Lease(account, holder, self.token, self.clock.now() + timedelta(seconds=ttl_seconds))

    def release_lease(self, lease: Lease) -> None:
        if lease.token == self.token:
            self.holder = ""

    def start_rebalance(self, lease: Lease, slot: datetime, portfolio_version: str) -> Rebalance:
        self._check(lease)
        new = Rebalance(
            len(self.slots) + 1, lease.account, slot, portfolio_version, RebalanceStatus.RUNNING
        )
        return self.slots.setdefault(slot, new)

    def end_rebalance(
        self, lease: Lease, rebalance_id: int, status: RebalanceStatus, reason: str = ""
    ) -> None:
        self._check(lease)
        for slot, found in self.slots.items():
            if found.id == rebalance_id:
                self.slots[slot] = replace(found, status=status, reason=reason)

    def rebalances(self, account: str, limit: int = 100) -> Sequence[Rebalance]:
        return sorted(self.slots.values(), key=lambda r: r.slot, reverse=True)[:limit]

    def slots_of(self, account: str, rebalance_ids: Collection[int]) -> Mapping[int, datetime]:
        return {found.id: slot for slot, found in self.slots.items() if found.id in rebalance_ids}

    def beginning(self, account: str, opening_reason: str) -> datetime | None:
        return max(
            (at for at, reason in self.adjusted if reason == opening_reason),
            default=min(self.slots, default=None),
        )

    def record_targets(self, lease: Lease, rebalance_id: int, targets: Mapping[str, float]) -> None:
        self._check(lease)
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
        self._check(lease)
        names = [each.request.client_order_id for each in orders]
        taken = [
            name for name in names if name in self.book and self.book[name].account != lease.account
        ]
        if len(set(names)) < len(names) or taken:
            raise StoreError(
                f"client order ids twice in one batch, or of another account: {taken or names}"
            )
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
        self._check(lease)
        self.events.append((client_order_id, event))
        told = OrderEvent(client_order_id, event, at, reason, venue_order_id, end_cause)
        order = self.book[client_order_id].after_event(told)
        self.book[client_order_id] = order
        return order.state

    def book_fill(self, lease: Lease, fill: Fill) -> bool:
        self._check(lease)
        if (fill.symbol, fill.trade_id) in self.trades:
            return False
        order = self.book[fill.client_order_id]
        self.book[fill.client_order_id] = order.after_fill(fill, order.request.quantity)
        self.trades[fill.symbol, fill.trade_id] = fill
        for asset, change in changes_of(fill).items():
            self._move(asset, change)
        return True

    def record_events(self, lease: Lease, events: Sequence[OrderEvent]) -> Sequence[OrderState]:
        return [
            self.record_event(
                lease,
                each.client_order_id,
                each.kind,
                each.at,
                each.reason,
                each.venue_order_id,
                each.end_cause,
            )
            for each in events
        ]

    def book_fills(self, lease: Lease, fills: Sequence[Fill]) -> Sequence[Fill]:
        return [fill for fill in fills if self.book_fill(lease, fill)]

    def book_adjustment(
        self, lease: Lease, asset: str, quantity: Decimal, reason: str, at: datetime
    ) -> None:
        self._check(lease)
        self._move(asset, quantity)
        self.adjusted.append((at, reason))

    def _move(self, asset: str, change: Decimal) -> None:
        self.held[asset] = self.held.get(asset, Decimal(0)) + change

    def orders(
        self,
        account: str,
        unfinished_only: bool = False,
        rebalance_id: int | None = None,
        overfilled_only: bool = False,
    ) -> Sequence[OrderRecord]:
        return [
            order
            for order in self.book.values()
            if not (unfinished_only and order.state.is_final)
            and rebalance_id in (None, order.rebalance_id)
            and (not overfilled_only or order.filled_quantity > order.request.quantity)
        ]

    def orders_named(self, account: str, names: Collection[str]) -> Sequence[OrderRecord]:
        return [order for name, order in self.book.items() if name in names]

    def short_orders(self, account: str, symbol: str, limit: int) -> Sequence[OrderRecord]:
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
        return [
            fill
            for fill in self.trades.values()
            if symbol in (None, fill.symbol) and (since is None or fill.at >= since)
        ]

    def entry_prices(self, account: str) -> Mapping[str, Decimal]:
        return entry_prices(self.fills(account))

    def totals(self, account: str) -> AccountTotals:
        slots = Counter(found.status for found in self.slots.values())
        traded = sum((fill.notional for fill in self.trades.values()), Decimal(0))
        return AccountTotals(slots, len(self.book), len(self.trades), traded)

    def balances(self, account: str) -> Mapping[str, Decimal]:
        return {asset: quantity for asset, quantity in self.held.items() if quantity}

    def positions(self, account: str) -> Mapping[str, Decimal]:
        return {}  # spot trading moves balances alone

    def open_break(self, lease: Lease, found: Break, at: datetime) -> bool:
        self._check(lease)
        key = (found.subject, found.kind)
        if key in self.breaks:
            return False
        self.breaks[key] = found
        self.outbox.append(break_alert(found))
        return True

    def close_break(
        self, lease: Lease, subject: str, kind: BreakKind, at: datetime, reason: str
    ) -> bool:
        self._check(lease)
        return self.breaks.pop((subject, kind), None) is not None

    def open_breaks(self, account: str) -> Sequence[Break]:
        return list(self.breaks.values())

    def set_trading_state(
        self,
        account: str,
        state: TradingState,
        reason: str,
        by: str,
        at: datetime,
        cancel: bool = False,
        flatten: bool = False,
        only_tighten: bool = False,
        alert: bool = False,
    ) -> None:
        if not only_tighten or stricter(state, self.halt.state):
            self.halt = Halt(account, state, reason, by, at, cancel, flatten)
            self.outbox += [state_alert(state, reason, by)] * alert

    def trading_state(self, account: str) -> Halt:
        return self.halt

    def record_equity(
        self,
        lease: Lease,
        at: datetime,
        equity: Decimal,
        cash: Decimal,
        in_doubt: Decimal = Decimal(0),
    ) -> None:
        self._check(lease)
        self.equity[at] = equity

    def equity_history(self, account: str) -> pl.DataFrame:
        return pl.DataFrame(
            {"at": list(self.equity), "equity": [float(value) for value in self.equity.values()]}
        )

    def risk_history(self, account: str, slot: datetime, now: datetime) -> RiskHistory:
        earlier = sorted((at, equity) for at, equity in self.equity.items() if at < slot)
        self.memory.equity = earlier
        self.memory.peak = max((equity for _, equity in earlier), default=None)
        self.memory.targets = [self.targets[at] for at in sorted(self.targets) if at < slot]
        self.memory.trades = [(fill.at, fill.notional) for fill in self.trades.values()]
        return self.memory.history(slot)

    def record_verdicts(
        self, lease: Lease, slot: datetime, verdicts: Sequence[RiskVerdict], at: datetime
    ) -> None:
        self._check(lease)
        self.verdicts += verdicts

    def record_marks(self, lease: Lease, marks: Mapping[str, PositionMark]) -> None:
        self._check(lease)
        self.memory.marks = marks

    def planned_instruments(self, account: str) -> Mapping[str, Instrument]:
        return self.instruments

    def record_instruments(self, lease: Lease, instruments: Sequence[Instrument]) -> None:
        self._check(lease)
        self.instruments |= {each.symbol: each for each in instruments}

    def settle_breaks(self, lease: Lease, settlements: Sequence[Settlement]) -> None:
        self._check(lease)
        closed = [(each.accepted.subject, each.accepted.kind) for each in settlements]
        if len(set(closed)) < len(closed) or not self.breaks.keys() >= set(closed):
            raise StoreError(f"not all of {closed} are open: {list(self.breaks)}")
        for each in settlements:
            word, at = each.accepted.message, each.accepted.at
            for asset, change in each.changes.items():
                self.book_adjustment(lease, asset, change, word, at)
            self.record_events(
                lease,
                [
                    OrderEvent(
                        name,
                        OrderEventKind.CANCEL,
                        at,
                        word,
                        end_cause=EndCause.ACCEPTED_BREAK,
                    )
                    for name in each.orders
                ],
            )
            self.record_instruments(lease, [] if each.instrument is None else [each.instrument])
            self.accepted.append(each.accepted)
            self.close_break(lease, each.accepted.subject, each.accepted.kind, at, word)

    def acceptances(self, account: str) -> Sequence[BreakAcceptance]:
        return self.accepted

    def trade_marks(self, account: str) -> Sequence[TradeMark]:
        marks: list[TradeMark] = []
        for symbol in sorted({fill.symbol for fill in self.trades.values()}):
            numbered = [
                (n, f.at) for n, f in enumerate(self.trades.values(), 1) if f.symbol == symbol
            ]
            done = self.compared.get(symbol, 0)
            since = min(at for n, at in numbered if n >= done)
            due_since = min((at for n, at in numbered if n > done), default=None)
            marks.append(TradeMark(symbol, since, numbered[-1][0], due_since))
        return marks

    def record_compared(self, lease: Lease, newest: Mapping[str, int]) -> None:
        self._check(lease)
        self.compared |= newest
