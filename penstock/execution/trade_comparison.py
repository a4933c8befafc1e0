"""Which trades are asked for, and what follows: every fill is compared with the venue's once, and where balances differ.

A symbol is asked about when it has fills that were not compared yet, or when its asset's balance differs; from the newest fill
that was found equal on. An account at rest asks for no trades at all.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from penstock.core.accounts import BreakAcceptance, OrderRecord, TradeMark
from penstock.core.orders import Fill
from penstock.execution.desk import TradingDesk
from penstock.execution.differences import Finding, Gaps, unexplained
from penstock.execution.lease import LeaseKeeper
from penstock.execution.trade_history import TradeHistory

#: More rebalances than an account will ever have.
_ALL = 10_000_000


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
        since = dict.fromkeys(asked, _first_slot(desk)) | since
    histories = _read(desk, [TradeHistory(desk, symbol, since[symbol], due.get(symbol)) for symbol in asked])
    if not gaps.open() and not all(history.agrees for history in histories):
        desk.pause(desk.policy.poll_seconds)  # a venue's list may lag behind its answers: look twice before saying so
        histories = _read(desk, histories)
    suspected = {order.request.symbol for order in overfilled}
    if not gaps.open() and all(history.agrees and history.symbol not in suspected for history in histories):
        return ComparedTrades(newest={history.symbol: marks[history.symbol].newest for history in histories if history.told})
    return _explained(desk, keeper, gaps, histories, suspected)


def _first_slot(desk: TradingDesk) -> datetime:
    return min(rebalance.slot for rebalance in desk.ledger.rebalances(desk.account, limit=_ALL))


def _read(desk: TradingDesk, histories: Sequence[TradeHistory]) -> list[TradeHistory]:
    """Read both sides of every symbol, several symbols at a time at the venue."""
    if not histories:
        return []
    with ThreadPoolExecutor(min(desk.policy.senders, len(histories)), thread_name_prefix="trades") as pool:
        asked = list(pool.map(TradeHistory.ask, histories))
    return [history.recall() for history in asked]


def _explained(
    desk: TradingDesk,
    keeper: LeaseKeeper,
    gaps: Gaps,
    histories: Sequence[TradeHistory],
    suspected: set[str],
) -> ComparedTrades:
    first_slot = _first_slot(desk)
    accepted = desk.supervision.acceptances(desk.account)
    ours = frozenset(order.request.client_order_id for order in desk.ledger.orders(desk.account))
    booked: list[Fill] = []
    for history in histories:
        history.first_slot, history.accepted = first_slot, accepted
        found, refused = history.book_ours(keeper, ours)
        booked += found
        gaps.findings += refused
    gaps.ledger = desk.ledger.positions(desk.account)
    _name(desk, gaps, histories, ours, suspected, first_slot, accepted)
    doubled = [fill for history in histories for fill in history.doubled]
    return ComparedTrades(tuple(booked), tuple(doubled), _newest(desk, gaps.findings, histories))


def _name(
    desk: TradingDesk,
    gaps: Gaps,
    histories: Sequence[TradeHistory],
    ours: frozenset[str],
    suspected: set[str],
    first_slot: datetime,
    accepted: Sequence[BreakAcceptance],
) -> None:
    for history in histories:
        is_off = history.symbol in suspected or bool(gaps.of(history.symbol.split("/")[0]))
        gaps.findings += history.findings(ours, is_off)
    for history in histories:
        lacking = history.lacking(gaps)
        gaps.findings += [] if lacking is None else [lacking]
    gaps.findings += unexplained(desk, gaps, first_slot, accepted)


def _newest(desk: TradingDesk, findings: Sequence[Finding], histories: Sequence[TradeHistory]) -> dict[str, int]:
    """Return how far the symbols are compared on which nothing was found, what was booked just now included."""
    locked = {finding.found.subject for finding in findings}
    equal = {each.symbol for each in histories if each.told and not locked & {each.symbol, each.symbol.split("/")[0]}}
    marks: Sequence[TradeMark] = desk.supervision.trade_marks(desk.account) if equal else ()
    return {mark.symbol: mark.newest for mark in marks if mark.due_since is not None and mark.symbol in equal}
