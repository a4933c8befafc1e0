"""What Penstock needs of the record of what stops trading, and of what the rules remember."""

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
from penstock.core.risk_records import PositionMark, RiskHistory, RiskVerdict


class ControlStore(Protocol):
    """What stops trading: breaks, halts, and the account's equity record.

    Every write takes the lease and is refused with StaleLeaseError, by the database, once a later
    lease exists: only the account's one writer knows what it compared, reviewed and holds. One
    write takes none: `set_trading_state`, for whoever wants an account stopped, an operator or a
    loss rule, must be able to stop it at any time.
    """

    def open_break(self, lease: Lease, found: Break, at: datetime) -> bool:
        """Record a break and, with it, its alert; False where the same (account, subject, kind) is
        open already.

        A break that is open keeps the figures it was opened with: they are what an operator was
        told and accepts. StoreError for a break of another account than the lease's.
        """
        ...

    def close_break(
        self, lease: Lease, subject: str, kind: BreakKind, at: datetime, reason: str
    ) -> bool:
        """Close an open break; False where there is none."""
        ...

    def open_breaks(self, account: str) -> Sequence[Break]:
        """Return the breaks that lock something now."""
        ...

    def break_history(self, account: str, limit: int = 50) -> Sequence[PastBreak]:
        """Return the account's newest `limit` breaks, open and closed ones, newest first."""
        ...

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
        """Set the state of an account, or of every account with "*". History is kept.

        With `only_tighten` nothing is set where the state in force allows as little already,
        whoever set it a moment ago. With `alert` what is set leaves its alert, in the same
        transaction.
        """
        ...

    def trading_state(self, account: str) -> Halt:
        """Return the strictest state in force for the account: its own or that of "*"; ACTIVE where
        none was ever set.

        What either asks for besides (to cancel, to flatten) is asked for, and the reason names
        both. Of two that are as strict the one set last comes first.
        """
        ...

    def record_equity(
        self,
        lease: Lease,
        at: datetime,
        equity: Decimal,
        cash: Decimal,
        in_doubt: Decimal = Decimal(0),
    ) -> None:
        """Record the account's equity in quote units, and with it what was transferred up to now.

        That is the value of all accepted breaks, and `in_doubt`: by what a break that is still open
        has changed this equity already. Recording the same instant again replaces it.
        """
        ...

    def equity_history(self, account: str) -> pl.DataFrame:
        """Return columns at (ms, UTC), equity, cash, transferred (float64, quote units), oldest
        first.

        `transferred` is the sum of all transfers that this equity has in it, as `record_equity`
        found it.
        """
        ...

    def risk_history(self, account: str, slot: datetime, now: datetime) -> RiskHistory:
        """Return what the account did before `slot`, and in the minute, hour and day before `now`.

        The day of a slot is the one that it closes in: a slot at midnight belongs to the day that
        ends. The peak is that of the slots since trading was last resumed by hand.
        """
        ...

    def record_verdicts(
        self, lease: Lease, slot: datetime, verdicts: Sequence[RiskVerdict], at: datetime
    ) -> None:
        """Append what the rules said at a slot."""
        ...

    def record_marks(self, lease: Lease, marks: Mapping[str, PositionMark]) -> None:
        """Replace what is remembered of the account's positions, by symbol."""
        ...

    def planned_instruments(self, account: str) -> Mapping[str, Instrument]:
        """Return the instruments that the account's orders were planned with, by symbol."""
        ...

    def record_instruments(self, lease: Lease, instruments: Sequence[Instrument]) -> None:
        """Keep the instruments that orders are planned with from now on, in place of what was kept
        of their symbols.
        """
        ...

    def settle_breaks(self, lease: Lease, settlements: Sequence[Settlement]) -> None:
        """Book what the acceptances change, end their orders, keep their instruments and words, and
        close their breaks.

        All in one transaction, or none. StoreError, and nothing written, where one of the breaks is
        not open (any more), an order is unknown or an account is not the lease's;
        IllegalTransitionError, and nothing written, where an order has ended in a way that no
        cancellation follows.
        """
        ...

    def acceptances(self, account: str) -> Sequence[BreakAcceptance]:
        """Return the account's accepted breaks, oldest first."""
        ...

    def trade_marks(self, account: str) -> Sequence[TradeMark]:
        """Return, for every symbol with fills, how far they were compared with the venue's trades."""
        ...

    def record_compared(self, lease: Lease, newest: Mapping[str, int]) -> None:
        """Keep that a symbol's fills up to this mark (TradeMark.newest) were found equal to the
        venue's trades.
        """
        ...
