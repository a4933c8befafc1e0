"""What follows from one symbol's trades: our missing ones are booked, all else is a break.

Differences are someone else's trades, fills that stand twice or have other figures, and lists that
were cut off.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from penstock.core.accounting import changes_of, summed
from penstock.core.breaks import Break, BreakAcceptance, BreakKind
from penstock.core.errors import IllegalTransitionError
from penstock.core.instruments import spot_assets
from penstock.core.orders import Fill
from penstock.execution.lease import LeaseKeeper
from penstock.execution.reconciliation.differences import BalanceGaps, ExplainedDifference
from penstock.execution.reconciliation.trade_history import TradeHistory, same_trade

_ZERO = Decimal(0)
#: What was accepted of trades that the venue did not show is not counted again when it shows them
#: after all.
_STOOD_FOR_TRADES = frozenset(
    {BreakKind.MANUAL_TRADE, BreakKind.TRUNCATED_TRADES, BreakKind.MISSING_FILL}
)


@dataclass
class TradeFindings:
    """What one look at a symbol's trades concludes."""

    history: TradeHistory
    """The trades on both sides."""

    begun: datetime
    """When the account was taken over. What was traded before came in with it."""

    accepted: Sequence[BreakAcceptance]
    """The account's acceptances."""

    copies: list[Fill] = field(default_factory=list)
    """Trades of ours that the venue lists a second time under another id: they are not booked."""

    doubled: list[Fill] = field(default_factory=list)
    """Fills that the ledger has twice, under two ids."""

    def book_ours(
        self, keeper: LeaseKeeper, ours: frozenset[str]
    ) -> tuple[list[Fill], list[ExplainedDifference]]:
        """Book our trades that the ledger lacks; return those booked, and a break for those it
        refused.
        """
        known = {fill.trade_id for fill in self.history.ledger}
        booked: list[Fill] = []
        refused: list[Fill] = []
        reasons: list[str] = []
        for fill in self.history.venue:
            if fill.trade_id in known or fill.client_order_id not in ours:
                continue
            if self._is_copy(fill):
                self.copies.append(fill)
                continue
            try:
                self.history.session.ledger.book_fill(keeper.lease, fill)
                booked.append(fill)
                self.history.ledger.append(fill)
            except IllegalTransitionError as error:
                refused.append(fill)
                reasons.append(
                    f"trade {fill.trade_id} of order {fill.client_order_id} cannot be booked: "
                    f"{error}"
                )
        return booked, [
            self._finding(BreakKind.MISSING_FILL, "; ".join(reasons), refused)
        ] if refused else []

    def findings(
        self, ours: frozenset[str], gaps: BalanceGaps, overfilled: bool
    ) -> list[ExplainedDifference]:
        """Return the breaks that the two lists show by themselves. Balances or an overfill may say
        that one is off.
        """
        found = [
            self._foreign(ours, gaps),
            self._doubled(overfilled or bool(gaps.of(self.history.base))),
            *self._figures(),
        ]
        return [finding for finding in found if finding is not None]

    def _foreign(self, ours: frozenset[str], gaps: BalanceGaps) -> ExplainedDifference | None:
        """Trades by someone else, since they were last accepted; what was traded before the
        take-over came in with it.

        Whoever accepted a break on one of the two assets may have accepted a trade that was not
        shown yet: trades from before that are named only where they close the gap and open none.
        """
        start, known = (
            self._settled(*_STOOD_FOR_TRADES),
            {fill.trade_id for fill in self.history.ledger},
        )
        every = [
            fill
            for fill in self.history.venue
            if fill.client_order_id not in ours and fill.trade_id not in known and fill.at > start
        ]
        assets = spot_assets(self.history.symbol)
        settled = max((each.at for each in self.accepted if each.subject in assets), default=start)
        fresh = [fill for fill in every if fill.at > settled]
        trades = every if fresh == every or self._closes(every, gaps) else fresh
        if not trades or self._opens(trades, gaps):
            return None
        net = sum((fill.side.sign * fill.quantity for fill in trades), _ZERO)
        detail = f"{len(trades)} trades by someone else, net {net}, last {trades[-1].trade_id}"
        return self._finding(BreakKind.MANUAL_TRADE, detail, trades, net)

    def _closes(self, trades: Sequence[Fill], gaps: BalanceGaps) -> bool:
        """Whether the trades explain all that is left of the base, and the quote has a gap for them
        to explain too.
        """
        changes = summed([changes_of(fill) for fill in trades])
        base, quote = spot_assets(self.history.symbol)
        return bool(gaps.of(base) and gaps.of(quote)) and not gaps.without(changes).of(base)

    def _opens(self, trades: Sequence[Fill], gaps: BalanceGaps) -> bool:
        """Whether the balances agree as they are, and would not any more if the trades were
        counted.
        """
        changes = summed([changes_of(fill) for fill in trades])
        left = gaps.without(changes)
        return not any(gaps.of(asset) for asset in changes) and any(
            left.of(asset) for asset in changes
        )

    def _doubled(self, suspected: bool) -> ExplainedDifference | None:
        """Fills that stand twice, under two ids, in the ledger or in the venue's list, while their
        order has them once.

        Two fills may be alike and both be real: what decides is how much the order itself says that
        it was filled.
        """
        start = self._settled(BreakKind.DOUBLED_FILL)
        unlisted = {fill.trade_id for fill in self.history.unlisted(self.history.since)}
        if unlisted or suspected:
            again = _repeated(self.history.ledger)
            again += [
                fill
                for fill in self.history.ledger
                if fill.trade_id in unlisted and fill not in again
            ]
            for fill in sorted(again, key=lambda each: each.trade_id not in unlisted):
                if self._is_surplus(fill):
                    self.doubled.append(fill)
        doubled, copies = (
            [fill for fill in found if fill.at > start] for found in (self.doubled, self.copies)
        )
        if not doubled and not copies:
            return None
        parts = (
            [f"{_trade_names(doubled)} once under another id, and the ledger has both"]
            if doubled
            else []
        )
        parts += (
            [f"{_trade_names(copies)} twice in its list, and the ledger has it once"]
            if copies
            else []
        )
        undo = {
            asset: -change
            for asset, change in summed([changes_of(fill) for fill in doubled]).items()
        }
        detail = f"by its orders the venue has {'; '.join(parts)}"
        return ExplainedDifference(
            Break(
                self.history.session.account, self.history.symbol, BreakKind.DOUBLED_FILL, detail
            ),
            undo,
        )

    def _is_copy(self, fill: Fill) -> bool:
        """Whether this trade, not booked yet, is one that is booked already: alike, and more than
        its order was filled.
        """
        if not any(_alike(fill, other) for other in self.history.ledger):
            return False
        filled = self.history.filled_at_venue(fill.client_order_id)
        return filled is not None and self._booked(fill.client_order_id) + fill.quantity > filled

    def _is_surplus(self, fill: Fill) -> bool:
        """Whether the order has this fill, which has a twin in the ledger, once less than the
        ledger.
        """
        if not any(
            _alike(fill, other) and other not in self.doubled
            for other in self.history.ledger
            if other is not fill
        ):
            return False
        filled = self.history.filled_at_venue(fill.client_order_id)
        return filled is not None and self._booked(fill.client_order_id) - fill.quantity >= filled

    def _booked(self, name: str) -> Decimal:
        found = [
            each.quantity
            for each in self.history.ledger
            if each.client_order_id == name and each not in self.doubled
        ]
        return sum(found, _ZERO)

    def _figures(self) -> list[ExplainedDifference]:
        """Fills whose quantity, price or fee is another at the venue. A fee in the base asset has a
        kind of its own.
        """
        fees = [
            pair
            for pair in self.history.differing()
            if same_trade(*pair) and pair[1].fee_asset == self.history.base
        ]
        others = [pair for pair in self.history.differing() if pair not in fees]
        return [
            finding
            for kind, pairs in ((BreakKind.BASE_ASSET_FEE, fees), (BreakKind.FILL_DIFFERS, others))
            if (finding := self._corrected(kind, pairs)) is not None
        ]

    def _corrected(
        self, kind: BreakKind, pairs: Sequence[tuple[Fill, Fill]]
    ) -> ExplainedDifference | None:
        start = self._settled(kind)
        pairs = [(ours, theirs) for ours, theirs in pairs if theirs.at > start]
        if not pairs:
            return None
        taken = summed([changes_of(theirs) for _, theirs in pairs])
        booked = summed([changes_of(ours) for ours, _ in pairs])
        changes = {
            asset: taken.get(asset, _ZERO) - booked.get(asset, _ZERO)
            for asset in sorted({*taken, *booked})
        }
        ours, theirs = pairs[0]
        difference = (
            f"{len(pairs)} fills have other figures at the venue, first trade {theirs.trade_id}"
        )
        if kind is BreakKind.BASE_ASSET_FEE:
            fees = sum((each.fee for _, each in pairs), _ZERO)
            difference = (
                f"the venue took {fees} {theirs.fee_asset} as the fee of {len(pairs)} fills, "
                f"first trade {theirs.trade_id}"
            )
        detail = (
            f"{difference}: {_fill_text(theirs)} at the venue, {_fill_text(ours)} in the ledger"
        )
        return ExplainedDifference(
            Break(self.history.session.account, self.history.symbol, kind, detail), changes
        )

    def lacking(self, gaps: BalanceGaps) -> ExplainedDifference | None:
        """Return what the lists lack: a fill that is not shown (where a gap is left), or a history
        that was cut short.
        """
        if not self.history.listed:
            return None
        base, quote = spot_assets(self.history.symbol)
        changes = (
            {asset: gap for asset in (base, quote) if (gap := gaps.of(asset))}
            if gaps.of(base)
            else {}
        )
        missing = self.history.not_shown() if changes else []
        if missing:
            named = [f"order {order.request.client_order_id} ({more})" for order, more in missing]
            detail = f"the venue filled {', '.join(named)} further than its trades show"
            return ExplainedDifference(
                Break(
                    self.history.session.account,
                    self.history.symbol,
                    BreakKind.MISSING_FILL,
                    detail,
                ),
                changes,
            )
        start = self._settled(BreakKind.TRUNCATED_TRADES)
        lost = self.history.unlisted(self.history.since if changes else self.history.due_since)
        cut = [fill for fill in lost if fill.at > start and fill not in self.doubled]
        if not cut:
            return None
        detail = (
            f"the venue's trades lack {len(cut)} that the ledger has, first "
            f"{cut[0].trade_id}: the rest is unknown too"
        )
        return ExplainedDifference(
            Break(
                self.history.session.account,
                self.history.symbol,
                BreakKind.TRUNCATED_TRADES,
                detail,
            ),
            changes,
        )

    def _settled(self, *kinds: BreakKind) -> datetime:
        """Return until when breaks of these kinds on the symbol are settled."""
        accepted = [
            each.at
            for each in self.accepted
            if each.kind in kinds and each.subject == self.history.symbol
        ]
        return max([self.begun, *accepted])

    def _finding(
        self, kind: BreakKind, detail: str, trades: Sequence[Fill], net: Decimal | None = None
    ) -> ExplainedDifference:
        found = Break(self.history.session.account, self.history.symbol, kind, detail, _ZERO, net)
        return ExplainedDifference(found, summed([changes_of(fill) for fill in trades]))


def _alike(fill: Fill, other: Fill) -> bool:
    return same_trade(fill, other) and (fill.client_order_id, fill.at) == (
        other.client_order_id,
        other.at,
    )


def _repeated(fills: Sequence[Fill]) -> list[Fill]:
    """Return every fill that is alike an earlier one."""
    seen: set[object] = set()
    again: list[Fill] = []
    for fill in fills:
        key = (fill.side, fill.quantity, fill.price, fill.client_order_id, fill.at)
        again += [fill] if key in seen else []
        seen.add(key)
    return again


def _trade_names(fills: Sequence[Fill]) -> str:
    return f"trade{'s' if len(fills) > 1 else ''} {', '.join(fill.trade_id for fill in fills)}"


def _fill_text(fill: Fill) -> str:
    return f"{fill.quantity} at {fill.price}, fee {fill.fee} {fill.fee_asset}"
