"""Which trades are asked for, and what follows: every fill is compared with the venue's once, and where balances differ.

A symbol is asked about when it has fills that were not compared yet, or when its asset's balance differs; from the newest fill
that was found equal on. An account at rest asks for no trades at all.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from penstock.core.accounts import OrderRecord, TradeMark
from penstock.core.orders import Fill
from penstock.execution.desk import TradingDesk
from penstock.execution.differences import Finding, Gaps, unexplained
from penstock.execution.lease import LeaseKeeper
from penstock.execution.trade_history import TradeHistory

OPENING_BALANCE = "opening balance"
#: What venues' times are rounded to.
_INSTANT = timedelta(milliseconds=1)


@dataclass(frozen=True)
class ComparedTrades:
    """What the comparison led to: our trades booked, fills that stand twice, and how far each symbol is compared now."""

    booked: tuple[Fill, ...] = ()
    doubled: tuple[Fill, ...] = ()
    newest: Mapping[str, int] = field(default_factory=dict)


def compare_trades(desk: TradingDesk, keeper: LeaseKeeper, gaps: Gaps, overfilled: Sequence[OrderRecord]) -> ComparedTrades:
    """Put into `gaps` what explains them, the surest first, and what differs though balances agree."""
    marks = {mark.symbol: mark for mark in desk.supervision.trade_marks(desk.account)}
    due = {symbol: mark.due_since for symbol, mark in marks.items() if mark.due_since is not None}
    asked = sorted(due.keys() | {f"{asset}/{desk.quote}" for asset in gaps.open() if asset != desk.quote})
    if not asked and not gaps.open():
        return ComparedTrades()
    since = {symbol: mark.since for symbol, mark in marks.items()}
    if any(symbol not in since for symbol in asked):
        since = dict.fromkeys(asked, _beginning(desk)) | since
    histories = _read(desk, [TradeHistory(desk, symbol, since[symbol], due.get(symbol)) for symbol in asked])
    if not gaps.open() and not all(history.agrees for history in histories):
        desk.pause(desk.policy.poll_seconds)  # a venue's list may lag behind its answers: look twice before saying so
        histories = _read(desk, histories)
    suspected = {order.request.symbol for order in overfilled}
    if not gaps.open() and all(history.agrees and history.symbol not in suspected for history in histories):
        return ComparedTrades(newest={history.symbol: marks[history.symbol].newest for history in histories if history.told})
    return _Explanation(desk, keeper, gaps, histories, suspected, _beginning(desk)).find()


def _beginning(desk: TradingDesk) -> datetime:
    """Return the last instant before the account was taken over. Its first slot may have closed before that."""
    return (desk.ledger.beginning(desk.account, OPENING_BALANCE) or desk.clock.now()) - _INSTANT


def _read(desk: TradingDesk, histories: Sequence[TradeHistory]) -> list[TradeHistory]:
    """Read both sides of every symbol, several symbols at a time at the venue."""
    if not histories:
        return []
    with ThreadPoolExecutor(min(desk.policy.senders, len(histories)), thread_name_prefix="trades") as pool:
        asked = list(pool.map(TradeHistory.ask, histories))
    return [history.recall() for history in asked]


@dataclass
class _Explanation:
    """What is behind differences: our trades are booked, in the window and where need be from before it; the rest is named."""

    desk: TradingDesk
    keeper: LeaseKeeper
    gaps: Gaps
    histories: Sequence[TradeHistory]
    suspected: set[str]
    begun: datetime
    booked: list[Fill] = field(default_factory=list)

    def find(self) -> ComparedTrades:
        accepted = self.desk.supervision.acceptances(self.desk.account)
        for history in self.histories:
            history.begun, history.accepted = self.begun, accepted
        self._explain()
        left = [history for history in self.histories if history.told and self.gaps.of(history.base)]
        if left:
            for history in self.histories:
                history.look_back() if history in left else history.forget()
            self.gaps.findings.clear()
            self._explain()
        for history in self.histories:
            lacking = history.lacking(self.gaps)
            self.gaps.findings += [] if lacking is None else [lacking]
        self.gaps.findings += unexplained(self.desk, self.gaps, self.begun, accepted)
        doubled = [fill for history in self.histories for fill in history.doubled]
        return ComparedTrades(tuple(self.booked), tuple(doubled), _newest(self.desk, self.gaps.findings, self.histories))

    def _explain(self) -> None:
        """Book what is ours, then name what the lists show by themselves."""
        names = {fill.client_order_id for history in self.histories for fill in history.venue}
        found = self.desk.ledger.orders_named(self.desk.account, names)
        ours = frozenset(order.request.client_order_id for order in found)
        for history in self.histories:
            booked, refused = history.book_ours(self.keeper, ours)
            self.booked += booked
            self.gaps.findings += refused
        self.gaps.ledger = self.desk.ledger.positions(self.desk.account)
        for history in self.histories:
            self.gaps.findings += history.findings(ours, self.gaps, history.symbol in self.suspected)


def _newest(desk: TradingDesk, findings: Sequence[Finding], histories: Sequence[TradeHistory]) -> dict[str, int]:
    """Return how far the symbols are compared on which nothing was found, what was booked just now included."""
    locked = {finding.found.subject for finding in findings}
    equal = {each.symbol for each in histories if each.told and not locked & {each.symbol, each.symbol.split("/")[0]}}
    marks: Sequence[TradeMark] = desk.supervision.trade_marks(desk.account) if equal else ()
    return {mark.symbol: mark.newest for mark in marks if mark.due_since is not None and mark.symbol in equal}
