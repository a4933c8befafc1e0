"""What follows from one symbol's trades: our missing ones are booked, all else is a break.

Breaks are trades by someone else, fills that are there twice or have other figures, and lists that
were cut short.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from penstock.core.accounting import changes_of, summed
from penstock.core.amounts import plain, to_step
from penstock.core.breaks import Break, BreakAcceptance, BreakKind
from penstock.core.errors import IllegalTransitionError
from penstock.core.instruments import spot_assets
from penstock.core.orders import Fill
from penstock.execution.lease import LeaseKeeper
from penstock.execution.reconciliation.differences import BalanceGaps, ExplainedDifference
from penstock.execution.reconciliation.trade_history import TradeHistory, same_trade

_ZERO = Decimal(0)
#: Accepted breaks of these kinds cover trades. The venue may show those trades later: they are not
#: counted again.
_ACCEPTED_AS_TRADES = frozenset(
    {BreakKind.MANUAL_TRADE, BreakKind.TRUNCATED_TRADES, BreakKind.MISSING_FILL}
)


@dataclass
class TradeFindings:
    """What follows from one symbol's trades."""

    history: TradeHistory
    """The trades on both sides."""

    begun: datetime
    """When the account was taken over. Its opening balances include earlier trades."""

    accepted: Sequence[BreakAcceptance]
    """The account's acceptances."""

    copies: list[Fill] = field(default_factory=list)
    """Our trades that the venue lists a second time under another id. They are not booked."""

    doubled: list[Fill] = field(default_factory=list)
    """Fills that the ledger has twice, under two ids."""

    def book_ours(
        self, keeper: LeaseKeeper, ours: frozenset[str]
    ) -> tuple[list[Fill], list[ExplainedDifference]]:
        """Book our trades that the ledger lacks; return them, and a break for those it refused."""
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
        """Return the breaks that the two lists show by themselves.

        An open gap, or `overfilled`, means that a fill may be there twice.
        """
        found = [
            self._foreign(ours, gaps),
            self._doubled(overfilled or bool(gaps.of(self.history.base))),
            *self._figures(),
        ]
        return [finding for finding in found if finding is not None]

    def _foreign(self, ours: frozenset[str], gaps: BalanceGaps) -> ExplainedDifference | None:
        """Return a break for trades by someone else, since the last acceptance or the take-over.

        A break that was accepted on one of the two assets may have been such a trade. So trades
        from before that acceptance are included only where all of them together close the gap.
        """
        start, known = (
            self._settled(*_ACCEPTED_AS_TRADES),
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
        """Return whether base and quote have gaps and the trades explain the base's whole gap."""
        changes = summed([changes_of(fill) for fill in trades])
        base, quote = spot_assets(self.history.symbol)
        return bool(gaps.of(base) and gaps.of(quote)) and not gaps.without(changes).of(base)

    def _opens(self, trades: Sequence[Fill], gaps: BalanceGaps) -> bool:
        """Return whether the balances agree now and would not if the trades were counted."""
        changes = summed([changes_of(fill) for fill in trades])
        left = gaps.without(changes)
        return not any(gaps.of(asset) for asset in changes) and any(
            left.of(asset) for asset in changes
        )

    def _doubled(self, suspected: bool) -> ExplainedDifference | None:
        """Return a break for fills that are in the ledger or the venue's list twice, under two ids.

        Two fills may be alike and both be real. The filled quantity that the venue states for the
        order decides.
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
        """Return whether this new trade is a copy of a booked one.

        A copy is alike a booked fill, and with it the order would have more than the venue states.
        """
        if not any(_alike(fill, other) for other in self.history.ledger):
            return False
        filled = self.history.filled_at_venue(fill.client_order_id)
        return filled is not None and self._booked(fill.client_order_id) + fill.quantity > filled

    def _is_surplus(self, fill: Fill) -> bool:
        """Return whether the ledger has this fill once more than its order has.

        Another fill must be alike, and the others must reach what the venue states.
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
        """Return breaks for fills whose quantity, price or fee differs at the venue.

        A fee in the base asset has a kind of its own.
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
                f"the venue took {to_step(fees)} {theirs.fee_asset} as the fee of {len(pairs)} "
                f"fills, first trade {theirs.trade_id}"
            )
        detail = (
            f"{difference}: {_fill_text(theirs)} at the venue, {_fill_text(ours)} in the ledger"
        )
        return ExplainedDifference(
            Break(self.history.session.account, self.history.symbol, kind, detail), changes
        )

    def lacking(self, gaps: BalanceGaps) -> ExplainedDifference | None:
        """Return a break for what the venue's list lacks, or None.

        It is a fill that is not shown, where a gap is left, or else a list that was cut short.
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
        """Return when a break of these kinds on the symbol was last accepted, or `begun`."""
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
    return f"{plain(fill.quantity)} at {plain(fill.price)}, fee {plain(fill.fee)} {fill.fee_asset}"
