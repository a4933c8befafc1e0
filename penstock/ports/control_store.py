"""What Penstock needs of the record of what stops trading, and of what risk rules remember."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

import polars as pl

from penstock.core.breaks import (
    Break,
    BreakAcceptance,
    BreakKind,
    PastBreak,
    Settlement,
    TradeMark,
)
from penstock.core.halts import Halt, TradingState
from penstock.core.instruments import Instrument
from penstock.core.leases import Lease
from penstock.core.risk_records import PositionMark, RecordedFinding, RiskHistory


class BreakStore(Protocol):
    """Breaks: the open ones, the past ones, and those that operators accepted.

    Raises as ControlStore does.
    """

    def open_break(self, lease: Lease, found: Break, at: datetime) -> bool:
        """Record a break and its alert, in one transaction.

        Returns False, and changes nothing, where the same (account, subject, kind) is open already,
        because an operator accepts the figures of the alert. Raises StoreError where the break is
        of another account than the lease.
        """
        ...

    def close_break(
        self, lease: Lease, subject: str, kind: BreakKind, at: datetime, reason: str
    ) -> bool:
        """Close an open break. Returns False where there is none."""
        ...

    def open_breaks(self, account: str) -> Sequence[Break]:
        """Return the breaks that are open, the oldest first."""
        ...

    def break_history(self, account: str, limit: int = 50) -> Sequence[PastBreak]:
        """Return the account's newest `limit` breaks, open and closed ones, newest first."""
        ...

    def settle_breaks(self, lease: Lease, settlements: Sequence[Settlement]) -> None:
        """Write the settlements, in one transaction.

        Of each, the changes are booked, the orders are cancelled, the instrument and the acceptance
        are kept, and the break is closed.

        An error leaves nothing written. Raises StoreError where a break is not open, an order is
        unknown or an account is not the lease's. Raises IllegalTransitionError where an order has
        ended and cannot be cancelled.
        """
        ...

    def acceptances(self, account: str) -> Sequence[BreakAcceptance]:
        """Return the account's accepted breaks, the oldest first."""
        ...


class HaltStore(Protocol):
    """The trading state of every account. Raises as ControlStore does."""

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
        """Set the state of an account, or of every account with "*". Earlier states are kept.

        Parameters:
            reason: why, as text for people.
            by: who sets it: an operator or a risk rule.
            at: when it was set (UTC).
            cancel: whether the working orders are to be cancelled.
            flatten: whether every position is to be closed.
            only_tighten: set nothing where the state in force is as strict or stricter.
            alert: write an alert in the same transaction.
        """
        ...

    def trading_state(self, account: str) -> Halt:
        """Return what is in force: the account's own state and that of "*", as `united` joins them.

        See penstock.core.halts.united. Where both are as strict, the later one comes first. The
        answer is ACTIVE where neither was ever set.
        """
        ...


class RiskStore(Protocol):
    """What risk rules found, and what they remember. Raises as ControlStore does."""

    def record_equity(
        self,
        lease: Lease,
        at: datetime,
        equity: Decimal,
        cash: Decimal,
        in_doubt: Decimal = Decimal(0),
    ) -> None:
        """Record the account's equity and cash at `at` (quote units).

        What was transferred until now is recorded with them: the value of all accepted breaks, and
        `in_doubt`. `in_doubt` is what breaks that are still open have added to this equity. A
        second record of the same instant replaces the first.
        """
        ...

    def equity_history(self, account: str) -> pl.DataFrame:
        """Return the columns at (ms, UTC), equity, cash, transferred (float64, quote units).

        The oldest row is first. `transferred` is what `record_equity` found transferred until then.
        """
        ...

    def equity_by_day(self, account: str) -> pl.DataFrame:
        """Return the first row of the equity history, and the last of each day (UTC).

        A slot at midnight belongs to the day that ends.
        """
        ...

    def risk_history(self, account: str, slot: datetime, now: datetime) -> RiskHistory:
        """Return what the account did before `slot`, and in the minute, hour and day before `now`.

        A slot at midnight belongs to the day that ends. On the first day of an account, the day
        begins with its first equity. The peak is that of the slots since the
        state was last set to ACTIVE.
        """
        ...

    def record_verdicts(
        self, lease: Lease, slot: datetime, verdicts: Sequence[RecordedFinding], at: datetime
    ) -> None:
        """Append what the rules found at a slot."""
        ...

    def record_marks(self, lease: Lease, marks: Mapping[str, PositionMark]) -> None:
        """Replace all that is remembered of the account's positions, by symbol."""
        ...


class ReconciliationStore(Protocol):
    """What reconciliation compares with the venue: fills and the steps of instruments.

    Raises as ControlStore does.
    """

    def planned_instruments(self, account: str) -> Mapping[str, Instrument]:
        """Return the instruments that the account's orders were planned with, by symbol."""
        ...

    def record_instruments(self, lease: Lease, instruments: Sequence[Instrument]) -> None:
        """Keep the instruments that orders are planned with from now on.

        They replace what was kept of their symbols. Other symbols stay as they are.
        """
        ...

    def trade_marks(self, account: str) -> Sequence[TradeMark]:
        """Return how far the fills of each symbol were compared with the venue's trades.

        There is one mark per symbol that has fills.
        """
        ...

    def record_compared(self, lease: Lease, newest: Mapping[str, int]) -> None:
        """Keep up to which mark a symbol's fills were found equal to the venue's trades.

        `newest` has TradeMark.newest by symbol. A mark never goes back.
        """
        ...


class ControlStore(BreakStore, HaltStore, RiskStore, ReconciliationStore, Protocol):
    """What stops trading: breaks and halts. Also what risk rules remember, such as equity.

    Every method raises StoreError where the database fails. Every write but one takes the account's
    lease. The database refuses it with StaleLeaseError once a later lease exists.
    `set_trading_state` takes no lease: anyone may stop an account at any time.
    """
