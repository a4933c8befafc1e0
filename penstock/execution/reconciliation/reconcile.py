"""Reconciliation: compare the ledger with the venue's balances, trades, open orders, instruments.

A difference opens a break, which locks its subject only. A break closes when both agree again. Our
own trades that the ledger lacks are booked at once. The other files of this folder:

- order_breaks and instrument_breaks: breaks about orders and instruments
- trade_comparison, trade_history and trade_findings: which trades are compared, and what follows
- differences: what explains a balance
- acceptance: an operator accepts a break
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from penstock.core.breaks import Break, BreakKind
from penstock.core.earn_balances import EarnBalance
from penstock.core.instruments import Instrument
from penstock.core.order_records import OrderRecord
from penstock.core.orders import Fill
from penstock.execution.lease import LeaseKeeper
from penstock.execution.reconciliation.differences import (
    BalanceGaps,
    ExplainedDifference,
    merged,
    venues_of,
)
from penstock.execution.reconciliation.instrument_breaks import instrument_breaks
from penstock.execution.reconciliation.order_breaks import (
    open_order_breaks,
    overfill_breaks,
    overfilled_orders,
)
from penstock.execution.reconciliation.trade_comparison import OPENING_BALANCE, compare_trades
from penstock.execution.session import AccountSession

__all__ = ["OPENING_BALANCE", "Known", "Reconciliation", "compare", "locks_of", "reconcile"]

_ZERO = Decimal(0)
#: Both sides agree on an overfill, so it stays open until an operator accepts it.
_CLOSED_BY_HAND = frozenset({BreakKind.OVERFILL})


@dataclass(frozen=True)
class Reconciliation:
    """What a reconciliation compared and changed."""

    balances: Mapping[str, Decimal]
    """The venue's balances by asset."""

    breaks: tuple[Break, ...]
    """The breaks that are open now."""

    opened: tuple[Break, ...] = ()
    """The breaks that it opened."""

    closed: tuple[Break, ...] = ()
    """The breaks that it closed: both sides agree again."""

    fills: tuple[Fill, ...] = ()
    """Our fills that the ledger lacked and that were booked."""

    opening: Mapping[str, Decimal] = field(default_factory=dict)
    """The opening balances that were booked, by asset. Only a new account has any."""

    ledger: Mapping[str, Decimal] | None = None
    """The ledger's balances by asset, with those fills; None where it booked opening balances."""

    earning: tuple[EarnBalance, ...] = ()
    """What a new account has in earn programmes. It is in no balance."""

    planned_instruments: Mapping[str, Instrument] = field(default_factory=dict)
    """The instruments that earlier orders were planned with, by symbol."""

    @property
    def locks(self) -> dict[str, str]:
        """The reason by locked subject (symbol or asset)."""
        return locks_of(self.breaks)


def locks_of(breaks: Sequence[Break]) -> dict[str, str]:
    """Return the reason by locked subject (symbol or asset)."""
    return {found.subject: f"{found.kind}: {found.detail}" for found in breaks}


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a run knows already and need not read again: nobody but the lease's holder changes it.
    A comparison outside of a slot knows nothing.
    """

    is_rebalanced: bool = False
    """Whether the account has been rebalanced before, for sure."""

    unsettled: Sequence[OrderRecord] | None = None
    """See Ledger.unsettled_orders; None where it is to be read."""

    planned_instruments: Mapping[str, Instrument] | None = None
    """The instruments that earlier orders were planned with; None where they are to be read."""

    compared_at: datetime | None = None
    """When the run compared trades."""


@dataclass(frozen=True)
class Comparison:
    """What the comparison of both sides found, before breaks are opened or closed."""

    balances: Mapping[str, Decimal]
    """The venue's balances by asset."""

    ledger: Mapping[str, Decimal]
    """The ledger's balances by asset, with the fills that were booked."""

    findings: tuple[ExplainedDifference, ...] = ()
    """One finding per subject and kind."""

    fills: tuple[Fill, ...] = ()
    """Our fills that the ledger lacked and that were booked."""

    planned_instruments: Mapping[str, Instrument] = field(default_factory=dict)
    """The instruments that earlier orders were planned with, by symbol."""

    newest: Mapping[str, int] = field(default_factory=dict)
    """How far trades were compared: the newest fill's sequence in the ledger, by symbol."""

    open_before: tuple[Break, ...] = ()
    """The breaks that were open."""


def reconcile(
    session: AccountSession,
    keeper: LeaseKeeper,
    instruments: Mapping[str, Instrument] | None = None,
    left_out: timedelta = timedelta(0),
    known: Known = Known(),
) -> Reconciliation:
    """Compare ledger and venue, book our missing trades, open and close breaks.

    An account that has never been rebalanced takes over the venue's balances as its opening
    balances. `instruments` are the venue's; they are read where they are not given. Fills that are
    younger than `left_out` are compared later where every balance agrees; all are, where this run
    compared them less than that ago.
    """
    if not known.is_rebalanced and not session.ledger.rebalances(session.account, limit=1):
        # The time is read before the balances, so they include all trades up to it.
        at = session.clock.now()
        return _take_over(session, keeper, session.exchange.balances(), at)
    seen = compare(session, keeper, instruments, left_out, known)
    if seen.newest:
        session.control_store.record_compared(keeper.lease, seen.newest)
    opened, closed = _sync(session, keeper, seen)
    breaks = seen.open_before
    if opened or closed:
        breaks = tuple(session.control_store.open_breaks(session.account))
    return Reconciliation(
        seen.balances,
        breaks,
        opened,
        closed,
        seen.fills,
        ledger=seen.ledger,
        planned_instruments=seen.planned_instruments,
    )


def compare(
    session: AccountSession,
    keeper: LeaseKeeper,
    instruments: Mapping[str, Instrument] | None = None,
    left_out: timedelta = timedelta(0),
    known: Known = Known(),
) -> Comparison:
    """Return what differs now. Only our own trades that the ledger lacks are written."""
    planned, unsettled = known.planned_instruments, known.unsettled
    if planned is None:
        planned = session.control_store.planned_instruments(session.account)
    if unsettled is None:
        unsettled = session.ledger.unsettled_orders(session.account)
    findings = [
        *open_order_breaks(session, unsettled),
        *instrument_breaks(session, planned, instruments),
    ]
    open_before = tuple(session.control_store.open_breaks(session.account))
    overfilled = overfilled_orders(session, unsettled)
    gaps = _gaps(session)
    if gaps.open():  # a venue's balances may lag behind its trades: read them again
        session.pause(session.policy.poll_seconds)
        gaps = _gaps(session)
    trades = compare_trades(
        session, keeper, gaps, overfilled, open_before, left_out, known.compared_at
    )
    if trades.booked:
        unsettled = session.ledger.unsettled_orders(session.account)
        overfilled = overfilled_orders(session, unsettled)
    findings += overfill_breaks(session, overfilled, trades.doubled)
    return Comparison(
        gaps.balances,
        gaps.ledger,
        merged([*findings, *gaps.findings]),
        trades.booked,
        planned,
        trades.newest,
        open_before,
    )


def _gaps(session: AccountSession) -> BalanceGaps:
    return BalanceGaps(
        dict(session.exchange.balances()),
        session.ledger.balances(session.account),
        venues=venues_of(session),
    )


def _take_over(
    session: AccountSession, keeper: LeaseKeeper, balances: Mapping[str, Decimal], at: datetime
) -> Reconciliation:
    """Book the differences as opening balances. After a crash it books only what is missing."""
    ledger = session.ledger.balances(session.account)
    opening = {
        asset: balances.get(asset, _ZERO) - ledger.get(asset, _ZERO)
        for asset in sorted({*balances, *ledger})
    }
    opening = {asset: quantity for asset, quantity in opening.items() if quantity}
    for asset, quantity in opening.items():
        session.ledger.book_adjustment(keeper.lease, asset, quantity, OPENING_BALANCE, at)
    return Reconciliation(
        dict(balances),
        tuple(session.control_store.open_breaks(session.account)),
        opening=opening,
        earning=tuple(session.exchange.earn_balances()),
    )


def _sync(
    session: AccountSession, keeper: LeaseKeeper, seen: Comparison
) -> tuple[tuple[Break, ...], tuple[Break, ...]]:
    """Open breaks that were found, close breaks that were not found again; return both."""
    found = [finding.found for finding in seen.findings]
    if not found and not seen.open_before:
        return (), ()
    at: datetime = session.clock.now()
    opened = tuple(
        each for each in found if session.control_store.open_break(keeper.lease, each, at)
    )
    keys = {(each.subject, each.kind) for each in found}
    closed = tuple(
        each
        for each in seen.open_before
        if each.kind not in _CLOSED_BY_HAND and (each.subject, each.kind) not in keys
    )
    for each in closed:
        session.control_store.close_break(
            keeper.lease, each.subject, each.kind, at, "ledger and venue agree again"
        )
    return opened, closed
