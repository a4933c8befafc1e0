"""Ledger and control store in memory."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal, localcontext

import polars as pl

from penstock.core.account_totals import TOTALS, AccountTotals
from penstock.core.accounting import EXACT, changes_of
from penstock.core.alerts import Alert, break_alert, state_alert
from penstock.core.bars import TS
from penstock.core.breaks import (
    Break,
    BreakAcceptance,
    BreakKind,
    PastBreak,
    Settlement,
    TradeMark,
)
from penstock.core.clock import Clock
from penstock.core.cost_basis import entry_prices
from penstock.core.errors import (
    IllegalTransitionError,
    StaleLeaseError,
    StoreError,
    UnknownAccountError,
)
from penstock.core.halts import Halt, TradingState, stricter, united
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
from penstock.core.rebalances import Rebalance, RebalanceStatus
from penstock.core.risk_records import PositionMark, RiskHistory, RiskVerdict
from penstock.core.timeframes import day_before
from penstock.testing.instruments import SLOT


@dataclass
class MemoryLedger:
    """Ledger and ControlStore in memory, of one account: a second one is refused.

    tests/contracts hold it to the ports, together with PostgreSQL. Tests may look at its fields and
    change them.
    """

    clock: Clock
    account: str = ""
    exchange: tuple[str, str] = ("", "")
    """The name of the account's venue, and its quote asset."""
    token: int = 0
    holder: str = ""
    """Who has the lease; nobody where it is empty."""
    expires_at: datetime = SLOT
    slots: dict[datetime, Rebalance] = field(default_factory=dict)
    book: dict[str, OrderRecord] = field(default_factory=dict)
    events: list[tuple[str, OrderEventKind]] = field(default_factory=list)
    trades: dict[tuple[str, str], Fill] = field(default_factory=dict)
    held: dict[str, Decimal] = field(default_factory=dict)
    adjusted: list[tuple[datetime, str]] = field(default_factory=list)
    breaks: dict[tuple[str, BreakKind], Break] = field(default_factory=dict)
    past_breaks: list[PastBreak] = field(default_factory=list)
    """Every break that was opened, oldest first."""
    outbox: list[Alert] = field(default_factory=list)
    halts: list[Halt] = field(default_factory=list)
    """Every state that was set, in that order."""
    equity: dict[datetime, Decimal] = field(default_factory=dict)
    cash: dict[datetime, Decimal] = field(default_factory=dict)
    transferred: dict[datetime, Decimal] = field(default_factory=dict)
    """What the equity of an instant has in it that no trade explains."""
    marks: Mapping[str, PositionMark] = field(default_factory=dict)
    targets: dict[datetime, Mapping[str, float]] = field(default_factory=dict)
    verdicts: list[RiskVerdict] = field(default_factory=list)
    instruments: dict[str, Instrument] = field(default_factory=dict)
    accepted: list[BreakAcceptance] = field(default_factory=list)
    compared: dict[str, int] = field(default_factory=dict)
    writes: int = 0

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

    @contextmanager
    def _transaction(self, undone_by: type[Exception] = StoreError) -> Iterator[None]:
        """Undo what the block recorded where a StoreError ends it, or an error of `undone_by`."""
        before = {
            name: copy(value)
            for name, value in vars(self).items()
            if isinstance(value, dict | list)
        }
        try:
            yield
        except (StoreError, undone_by):
            vars(self).update(before)
            raise

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
        self, lease: Lease, rebalance_id: int, status: RebalanceStatus, reason: str = ""
    ) -> None:
        self.require_newest(lease)
        for slot, found in self.slots.items():
            if found.id == rebalance_id:
                self.slots[slot] = replace(found, status=status, reason=reason)

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
        with self._transaction():
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
        states, refused = [], []
        with self._transaction():
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
                states.append(self.book[event.client_order_id].state)
        if refused:
            raise IllegalTransitionError("; ".join(refused))
        return states

    def book_fills(self, lease: Lease, fills: Sequence[Fill]) -> Sequence[Fill]:
        self.require_newest(lease)
        booked, refused = [], []
        with self._transaction(), localcontext(EXACT):
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
        overfilled_only: bool = False,
    ) -> Sequence[OrderRecord]:
        return [
            order
            for order in self.book.values()
            if order.account == account
            and not (unfinished_only and order.state.is_final)
            and rebalance_id in (None, order.rebalance_id)
            and (not overfilled_only or order.filled_quantity > order.request.quantity)
        ]

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

    def entry_prices(self, account: str) -> Mapping[str, Decimal]:
        return entry_prices(self.fills(account))

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

    def open_break(self, lease: Lease, found: Break, at: datetime) -> bool:
        self.require_newest(lease)
        key = (found.subject, found.kind)
        if key in self.breaks:
            return False
        self.breaks[key] = found
        self.past_breaks.append(PastBreak(at, None, found.subject, found.kind, found.detail, ""))
        self.outbox.append(break_alert(found))
        return True

    def close_break(
        self, lease: Lease, subject: str, kind: BreakKind, at: datetime, reason: str
    ) -> bool:
        self.require_newest(lease)
        if self.breaks.pop((subject, kind), None) is None:
            return False
        self.past_breaks = [
            replace(past, closed_at=at, closed_reason=reason)
            if (past.subject, past.kind, past.closed_at) == (subject, kind, None)
            else past
            for past in self.past_breaks
        ]
        return True

    def break_history(self, account: str, limit: int = 50) -> Sequence[PastBreak]:
        return self.past_breaks[::-1][:limit] if account == self.account else []

    def open_breaks(self, account: str) -> Sequence[Break]:
        return [found for found in self.breaks.values() if found.account == account]

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
        if only_tighten and not stricter(state, self.trading_state(account).state):
            return
        self.halts.append(Halt(account, state, reason, by, at, cancel, flatten))
        self.outbox += [state_alert(state, reason, by)] * alert

    def trading_state(self, account: str) -> Halt:
        newest = {halt.account: halt for halt in self.halts}
        asked = [halt for halt in self.halts[::-1] if newest[halt.account] is halt]
        ours = [halt for halt in asked if halt.account in (account, "*")]
        return united(ours or [Halt(account, TradingState.ACTIVE, "", "", SLOT)])

    @property
    def halt(self) -> Halt:
        """The state in force."""
        return self.trading_state(self.account)

    def record_equity(
        self,
        lease: Lease,
        at: datetime,
        equity: Decimal,
        cash: Decimal,
        in_doubt: Decimal = Decimal(0),
    ) -> None:
        self.require_newest(lease)
        self.equity[at], self.cash[at] = equity, cash
        self.transferred[at] = self._accepted_value() + in_doubt

    def _accepted_value(self) -> Decimal:
        return sum((each.value or Decimal(0) for each in self.accepted), Decimal(0))

    def equity_history(self, account: str) -> pl.DataFrame:
        columns = (self.equity, self.cash, self.transferred)
        rows = [
            (at, *(float(column.get(at, 0)) for column in columns))
            for at in sorted(self.equity)
            if account == self.account
        ]
        amounts = dict.fromkeys(("equity", "cash", "transferred"), pl.Float64())
        return pl.DataFrame(rows, schema=pl.Schema({"at": TS, **amounts}), orient="row")

    def risk_history(self, account: str, slot: datetime, now: datetime) -> RiskHistory:
        own = {
            at: equity - self.transferred.get(at, Decimal(0))
            for at, equity in sorted(self.equity.items())
            if at < slot
        }
        day, midnight = day_before(slot), now.replace(hour=0, minute=0, second=0, microsecond=0)
        resumed = max(
            (halt.at for halt in self.halts if halt.state is TradingState.ACTIVE), default=None
        )
        created = [order.created_at for order in self.book.values()]
        traded = [
            fill.notional for fill in self.trades.values() if fill.at >= slot - timedelta(hours=1)
        ]
        return RiskHistory(
            day_start=next((own[at] for at in reversed(own) if at <= day), None),
            peak=max((own[at] for at in own if resumed is None or at >= resumed), default=None),
            transferred=self._accepted_value(),
            targets=tuple(self.targets[at] for at in sorted(self.targets) if at < slot)[:-3:-1],
            orders_last_minute=sum(at > now - timedelta(minutes=1) for at in created),
            orders_today=sum(at >= midnight for at in created),
            traded_last_hour=sum(traded, Decimal(0)),
            marks=self.marks,
        )

    def record_verdicts(
        self, lease: Lease, slot: datetime, verdicts: Sequence[RiskVerdict], at: datetime
    ) -> None:
        self.require_newest(lease)
        self.verdicts += verdicts

    def record_marks(self, lease: Lease, marks: Mapping[str, PositionMark]) -> None:
        self.require_newest(lease)
        self.marks = marks

    def planned_instruments(self, account: str) -> Mapping[str, Instrument]:
        if account != self.account:
            return {}
        return self.instruments

    def record_instruments(self, lease: Lease, instruments: Sequence[Instrument]) -> None:
        self.require_newest(lease)
        self.instruments |= {each.symbol: each for each in instruments}

    def settle_breaks(self, lease: Lease, settlements: Sequence[Settlement]) -> None:
        self.require_newest(lease)
        closed = [(each.accepted.subject, each.accepted.kind) for each in settlements]
        if len(set(closed)) < len(closed) or not self.breaks.keys() >= set(closed):
            raise StoreError(f"not all of {closed} are open: {list(self.breaks)}")
        with self._transaction(IllegalTransitionError):
            for each in settlements:
                message, at = each.accepted.message, each.accepted.at
                for asset, change in each.changes.items():
                    self.book_adjustment(lease, asset, change, message, at)
                self.record_events(
                    lease,
                    [
                        OrderEvent(
                            name,
                            OrderEventKind.CANCEL,
                            at,
                            message,
                            end_cause=EndCause.ACCEPTED_BREAK,
                        )
                        for name in each.orders
                    ],
                )
                self.record_instruments(lease, [] if each.instrument is None else [each.instrument])
                self.accepted.append(each.accepted)
                self.close_break(lease, each.accepted.subject, each.accepted.kind, at, message)

    def acceptances(self, account: str) -> Sequence[BreakAcceptance]:
        if account != self.account:
            return []
        return self.accepted

    def trade_marks(self, account: str) -> Sequence[TradeMark]:
        if account != self.account:
            return []
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
        self.require_newest(lease)
        for symbol, mark in newest.items():
            self.compared[symbol] = max(mark, self.compared.get(symbol, 0))
