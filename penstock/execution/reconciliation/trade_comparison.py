"""Comparing the ledger's fills with the venue's trades: which are read, and what explains them.

The trades of a symbol are read where it has fills that were not compared yet, or where its asset's
balance differs. They are read from the newest fill that was found equal. An account that does not
trade reads none.

A slot may leave its youngest fills to a later comparison where every balance agrees to the last
digit: the venue has shown them once already, and a request for each symbol costs as much as its
order (docs/decisions/0013). It compares the older ones at its begin. It never leaves those of a
symbol that an open break locks: what is not read is not found again, and the break would be closed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from penstock.core.breaks import Break, BreakAcceptance, BreakKind, TradeMark, lock_subjects
from penstock.core.instruments import spot_symbol
from penstock.core.order_records import OrderRecord
from penstock.core.orders import Fill
from penstock.execution.lease import LeaseKeeper
from penstock.execution.reconciliation.differences import (
    BalanceGaps,
    ExplainedDifference,
    unexplained,
)
from penstock.execution.reconciliation.trade_findings import TradeFindings
from penstock.execution.reconciliation.trade_history import TradeHistory
from penstock.execution.session import AccountSession

OPENING_BALANCE = "opening balance"
#: Breaks that are found in the two lists of trades, and only there.
_FOUND_IN_TRADES = frozenset(
    {
        BreakKind.MISSING_FILL,
        BreakKind.DOUBLED_FILL,
        BreakKind.MANUAL_TRADE,
        BreakKind.TRUNCATED_TRADES,
        BreakKind.BASE_ASSET_FEE,
        BreakKind.FILL_DIFFERS,
    }
)
#: Venues round their times to this.
_INSTANT = timedelta(milliseconds=1)


@dataclass(frozen=True)
class ComparedTrades:
    """What the comparison of trades led to."""

    booked: tuple[Fill, ...] = ()
    """Our trades that the ledger lacked and that were booked."""

    doubled: tuple[Fill, ...] = ()
    """Fills that the ledger has twice, under two ids."""

    newest: Mapping[str, int] = field(default_factory=dict)
    """How far each symbol is compared now: its newest fill's sequence in the ledger."""


def compare_trades(
    session: AccountSession,
    keeper: LeaseKeeper,
    gaps: BalanceGaps,
    overfilled: Sequence[OrderRecord],
    open_breaks: Sequence[Break],
    left_out: timedelta = timedelta(0),
    compared_at: datetime | None = None,
) -> ComparedTrades:
    """Book our trades that the ledger lacks, and add to `gaps` the findings about trades.

    The surest findings come first. Some are differences of trades though balances agree.
    `overfilled` are our orders that were filled beyond their quantity. Where nothing else differs,
    a symbol whose first fill to be compared is younger than `left_out` is not read, unless one of
    `open_breaks` locks it. A symbol with an open break about its trades is always read. Without any
    break or difference nothing is read by a run that compared less than `left_out` ago, at
    `compared_at`.
    """
    left = gaps.open()
    agrees = not left and not overfilled and not open_breaks
    if agrees and compared_at is not None and session.clock.now() - compared_at < left_out:
        return ComparedTrades()
    marks = {mark.symbol: mark for mark in session.control_store.trade_marks(session.account)}
    due = {symbol: mark.due_since for symbol, mark in marks.items() if mark.due_since is not None}
    if left_out and not left and not overfilled:
        until, locked = session.clock.now() - left_out, {each.subject for each in open_breaks}
        due = {
            symbol: since
            for symbol, since in due.items()
            if since <= until or not locked.isdisjoint(lock_subjects(symbol))
        }
    asked = sorted(
        due.keys()
        | {spot_symbol(asset, session.quote) for asset in left if asset != session.quote}
        | {each.subject for each in open_breaks if each.kind in _FOUND_IN_TRADES}
    )
    if not asked and not left:
        return ComparedTrades()
    since = {symbol: mark.since for symbol, mark in marks.items()}
    if any(symbol not in since for symbol in asked):
        since = dict.fromkeys(asked, _beginning(session)) | since
    histories = _read(
        session, [TradeHistory(session, symbol, since[symbol], due.get(symbol)) for symbol in asked]
    )
    if not left and not all(history.agrees for history in histories):
        # A venue's list may lag behind its other answers: read it again.
        session.pause(session.policy.poll_seconds)
        histories = _read(session, histories)
    suspected = {order.request.symbol for order in overfilled}
    if not left and all(
        history.agrees and history.symbol not in suspected for history in histories
    ):
        return ComparedTrades(
            newest={
                history.symbol: marks[history.symbol].newest
                for history in histories
                if history.listed and history.symbol in due
            }
        )
    return _Explanation(session, keeper, gaps, histories, suspected, _beginning(session)).find()


def _beginning(session: AccountSession) -> datetime:
    """Return the last instant before the account was taken over."""
    return (
        session.ledger.beginning(session.account, OPENING_BALANCE) or session.clock.now()
    ) - _INSTANT


def _read(session: AccountSession, histories: Sequence[TradeHistory]) -> list[TradeHistory]:
    """Read both sides of every symbol. The venue is asked about several symbols at a time."""
    return session.runner.map(
        lambda history: history.ask().recall(),
        histories,
        at_once=session.policy.senders,
        name="trades",
    )


@dataclass
class _Explanation:
    """Explains the differences, symbol by symbol."""

    session: AccountSession
    keeper: LeaseKeeper
    gaps: BalanceGaps
    histories: Sequence[TradeHistory]
    overfilled: set[str]
    """Symbols with an order that was filled beyond its quantity."""
    begun: datetime
    booked: list[Fill] = field(default_factory=list)

    def find(self) -> ComparedTrades:
        """Explain gaps by the trades read so far, and where one is left by earlier ones too."""
        accepted = self.session.control_store.acceptances(self.session.account)
        found = self._explain(accepted)
        left = [each for each in self.histories if each.listed and self.gaps.of(each.base)]
        if left:
            for history in left:
                history.look_back(self.begun)
            self.gaps.findings.clear()
            found = self._explain(accepted)
        for each in found:
            lacking = each.lacking(self.gaps)
            self.gaps.findings += [] if lacking is None else [lacking]
        self.gaps.findings += unexplained(self.session, self.gaps, self.begun, accepted)
        doubled = tuple(fill for each in found for fill in each.doubled)
        newest = _newest(self.session, self.gaps.findings, self.histories)
        return ComparedTrades(tuple(self.booked), doubled, newest)

    def _explain(self, accepted: Sequence[BreakAcceptance]) -> list[TradeFindings]:
        """Book our trades, then add what the lists show by themselves."""
        found = [TradeFindings(history, self.begun, accepted) for history in self.histories]
        names = {fill.client_order_id for history in self.histories for fill in history.venue}
        known = self.session.ledger.orders_named(self.session.account, names)
        ours = frozenset(order.request.client_order_id for order in known)
        for each in found:
            booked, refused = each.book_ours(self.keeper, ours)
            self.booked += booked
            self.gaps.findings += refused
        self.gaps.ledger = self.session.ledger.balances(self.session.account)
        for each in found:
            is_overfilled = each.history.symbol in self.overfilled
            self.gaps.findings += each.findings(ours, self.gaps, is_overfilled)
        return found


def _newest(
    session: AccountSession,
    findings: Sequence[ExplainedDifference],
    histories: Sequence[TradeHistory],
) -> dict[str, int]:
    """Return how far the symbols without findings are compared, with fills booked just now."""
    locked = {finding.found.subject for finding in findings}
    equal = {
        each.symbol
        for each in histories
        if each.listed and locked.isdisjoint(lock_subjects(each.symbol))
    }
    marks: Sequence[TradeMark] = session.control_store.trade_marks(session.account) if equal else ()
    return {
        mark.symbol: mark.newest
        for mark in marks
        if mark.due_since is not None and mark.symbol in equal
    }
