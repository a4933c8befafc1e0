"""Control store in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl

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
from penstock.core.errors import IllegalTransitionError, StoreError
from penstock.core.halts import EVERY_ACCOUNT, Halt, TradingState, stricter, united
from penstock.core.instruments import Instrument
from penstock.core.leases import Lease
from penstock.core.orders import EndCause, OrderEvent, OrderEventKind
from penstock.core.rebalances import SlotEquity
from penstock.core.risk_records import PositionMark, RecordedFinding, RiskHistory
from penstock.core.timeframes import day_before
from penstock.testing.instruments import SLOT
from penstock.testing.memory_ledger import MemoryLedger, all_or_nothing


@dataclass
class MemoryControlStore:
    """ControlStore in memory, of the ledger's account.

    tests/contracts hold it to the port, together with PostgreSQL. Tests may look at its fields and
    change them.
    """

    ledger: MemoryLedger
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
    verdicts: list[RecordedFinding] = field(default_factory=list)
    instruments: dict[str, Instrument] = field(default_factory=dict)
    accepted: list[BreakAcceptance] = field(default_factory=list)
    compared: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ledger.keep_equity = self._keep_equity

    def open_break(self, lease: Lease, found: Break, at: datetime) -> bool:
        self.ledger.require_newest(lease)
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
        self.ledger.require_newest(lease)
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
        return self.past_breaks[::-1][:limit] if account == self.ledger.account else []

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
        ours = [halt for halt in asked if halt.account in (account, EVERY_ACCOUNT)]
        return united(ours or [Halt(account, TradingState.ACTIVE, "", "", SLOT)])

    @property
    def halt(self) -> Halt:
        """The state in force."""
        return self.trading_state(self.ledger.account)

    def record_equity(
        self,
        lease: Lease,
        at: datetime,
        equity: Decimal,
        cash: Decimal,
        in_doubt: Decimal = Decimal(0),
    ) -> None:
        self.ledger.require_newest(lease)
        self._keep_equity(SlotEquity(at, equity, cash, in_doubt))

    def _keep_equity(self, found: SlotEquity) -> None:
        self.equity[found.at], self.cash[found.at] = found.equity, found.cash
        self.transferred[found.at] = self._accepted_value() + found.in_doubt

    def _accepted_value(self) -> Decimal:
        return sum((each.value or Decimal(0) for each in self.accepted), Decimal(0))

    def equity_history(self, account: str) -> pl.DataFrame:
        columns = (self.equity, self.cash, self.transferred)
        rows = [
            (at, *(float(column.get(at, 0)) for column in columns))
            for at in sorted(self.equity)
            if account == self.ledger.account
        ]
        amounts = dict.fromkeys(("equity", "cash", "transferred"), pl.Float64())
        return pl.DataFrame(rows, schema=pl.Schema({"at": TS, **amounts}), orient="row")

    def equity_by_day(self, account: str) -> pl.DataFrame:
        history = self.equity_history(account)
        day = (pl.col("at") - pl.duration(milliseconds=1)).dt.truncate("1d").alias("day")
        ends = history.group_by(day, maintain_order=True).last().drop("day")
        return pl.concat([history.head(1), ends]).unique("at").sort("at")

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
        created = [order.created_at for order in self.ledger.book.values()]
        traded = [
            fill.notional
            for fill in self.ledger.trades.values()
            if fill.at >= slot - timedelta(hours=1)
        ]
        return RiskHistory(
            day_start=next(
                (own[at] for at in reversed(own) if at <= day), next(iter(own.values()), None)
            ),
            peak=max((own[at] for at in own if resumed is None or at >= resumed), default=None),
            transferred=self._accepted_value(),
            targets=tuple(
                self.ledger.targets[at] for at in sorted(self.ledger.targets) if at < slot
            )[:-3:-1],
            orders_last_minute=sum(at > now - timedelta(minutes=1) for at in created),
            orders_today=sum(at >= midnight for at in created),
            traded_last_hour=sum(traded, Decimal(0)),
            marks=self.marks,
        )

    def record_verdicts(
        self, lease: Lease, slot: datetime, verdicts: Sequence[RecordedFinding], at: datetime
    ) -> None:
        self.ledger.require_newest(lease)
        self.verdicts += verdicts

    def record_marks(self, lease: Lease, marks: Mapping[str, PositionMark]) -> None:
        self.ledger.require_newest(lease)
        self.marks = marks

    def planned_instruments(self, account: str) -> Mapping[str, Instrument]:
        if account != self.ledger.account:
            return {}
        return self.instruments

    def record_instruments(self, lease: Lease, instruments: Sequence[Instrument]) -> None:
        self.ledger.require_newest(lease)
        self.instruments |= {each.symbol: each for each in instruments}

    def settle_breaks(self, lease: Lease, settlements: Sequence[Settlement]) -> None:
        self.ledger.require_newest(lease)
        closed = [(each.accepted.subject, each.accepted.kind) for each in settlements]
        if len(set(closed)) < len(closed) or not self.breaks.keys() >= set(closed):
            raise StoreError(f"not all of {closed} are open: {list(self.breaks)}")
        with all_or_nothing(self, self.ledger, undone_by=IllegalTransitionError):
            for each in settlements:
                message, at = each.accepted.message, each.accepted.at
                for asset, change in each.changes.items():
                    self.ledger.book_adjustment(lease, asset, change, message, at)
                self.ledger.record_events(
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
        if account != self.ledger.account:
            return []
        return self.accepted

    def trade_marks(self, account: str) -> Sequence[TradeMark]:
        if account != self.ledger.account:
            return []
        marks: list[TradeMark] = []
        for symbol in sorted({fill.symbol for fill in self.ledger.trades.values()}):
            numbered = [
                (n, f.at)
                for n, f in enumerate(self.ledger.trades.values(), 1)
                if f.symbol == symbol
            ]
            done = self.compared.get(symbol, 0)
            since = min(at for n, at in numbered if n >= done)
            due_since = min((at for n, at in numbered if n > done), default=None)
            marks.append(TradeMark(symbol, since, numbered[-1][0], due_since))
        return marks

    def record_compared(self, lease: Lease, newest: Mapping[str, int]) -> None:
        self.ledger.require_newest(lease)
        for symbol, mark in newest.items():
            self.compared[symbol] = max(mark, self.compared.get(symbol, 0))
