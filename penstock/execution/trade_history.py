"""The venue's trades of one symbol against the ledger's fills of it: ours that are missing, someone else's, doubled, cut off.

Trades of our orders that the ledger lacks are booked here; all other findings are breaks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from penstock.core.accounts import Break, BreakAcceptance, BreakKind
from penstock.core.errors import IllegalTransitionError, OrderNotFoundError, UnknownSymbolError
from penstock.core.orders import Fill
from penstock.execution.desk import TradingDesk
from penstock.execution.differences import Finding, Gaps, changes_of, summed
from penstock.execution.following import TRADES_MARGIN
from penstock.execution.lease import LeaseKeeper

_ZERO = Decimal(0)
#: Orders of a symbol, newest first, that are asked about where a gap has no trade behind it.
_ORDERS_ASKED = 20
#: What was accepted of trades that the venue did not show is not counted again when it shows them after all.
_STOOD_FOR_TRADES = frozenset({BreakKind.MANUAL_TRADE, BreakKind.TRUNCATED_TRADES, BreakKind.MISSING_FILL})


@dataclass
class TradeHistory:
    """One symbol's trades from `since` on, as the venue and as the ledger have them.

    The ledger's fills from `due_since` on were never compared: those must be in the venue's list. Earlier ones once were, and
    are missed only where balances differ.
    `told` is False where the venue does not list the symbol any more: nothing follows from its silence. `copies` are trades
    of ours that the venue lists a second time under another id and that are therefore not booked, `doubled` those that were.
    """

    desk: TradingDesk
    symbol: str
    since: datetime
    due_since: datetime | None = None
    venue: list[Fill] = field(default_factory=list)
    ledger: list[Fill] = field(default_factory=list)
    told: bool = True
    first_slot: datetime | None = None
    accepted: Sequence[BreakAcceptance] = ()
    copies: list[Fill] = field(default_factory=list)
    doubled: list[Fill] = field(default_factory=list)
    _filled: dict[str, Decimal | None] = field(default_factory=dict)

    def ask(self) -> "TradeHistory":
        """Read the venue's side."""
        try:
            self.venue, self.told = list(self.desk.exchange.fills(self.symbol, self.since - TRADES_MARGIN)), True
        except UnknownSymbolError:
            self.venue, self.told = [], False
        return self

    def recall(self) -> "TradeHistory":
        """Read the ledger's side."""
        self.ledger = list(self.desk.ledger.fills(self.desk.account, self.symbol, self.since - TRADES_MARGIN))
        return self

    @property
    def agrees(self) -> bool:
        """Whether both sides have the same trades, with the same figures."""
        known = {fill.trade_id for fill in self.ledger}
        return not self.told or (
            all(fill.trade_id in known for fill in self.venue) and not self._unlisted(self.due_since) and not self._differing()
        )

    def book_ours(self, keeper: LeaseKeeper, ours: frozenset[str]) -> tuple[list[Fill], list[Finding]]:
        """Book our trades that the ledger lacks; return those booked, and a break for those it refused."""
        known = {fill.trade_id for fill in self.ledger}
        booked: list[Fill] = []
        refused: list[Fill] = []
        reasons: list[str] = []
        for fill in self.venue:
            if fill.trade_id in known or fill.client_order_id not in ours:
                continue
            if self._is_copy(fill):
                self.copies.append(fill)
                continue
            try:
                self.desk.ledger.book_fill(keeper.lease, fill)
                booked.append(fill)
                self.ledger.append(fill)
            except IllegalTransitionError as refusal:
                refused.append(fill)
                reasons.append(f"trade {fill.trade_id} of order {fill.client_order_id} cannot be booked: {refusal}")
        return booked, [self._finding(BreakKind.MISSING_FILL, "; ".join(reasons), refused)] if refused else []

    def findings(self, ours: frozenset[str], suspected: bool) -> list[Finding]:
        """Return the breaks that the two lists show by themselves. `suspected`: balances or an overfill say that one is off."""
        found = [self._foreign(ours), self._doubled(suspected), *self._figures()]
        return [finding for finding in found if finding is not None]

    def _foreign(self, ours: frozenset[str]) -> Finding | None:
        """Trades by someone else, since they were last accepted; what was traded before the first slot came in with it."""
        start, known = self._settled(*_STOOD_FOR_TRADES), {fill.trade_id for fill in self.ledger}
        trades = [
            fill for fill in self.venue if fill.client_order_id not in ours and fill.trade_id not in known and fill.at > start
        ]
        if not trades:
            return None
        net = sum((fill.side.sign * fill.quantity for fill in trades), _ZERO)
        detail = f"{len(trades)} trades by someone else, net {net}, last {trades[-1].trade_id}"
        return self._finding(BreakKind.MANUAL_TRADE, detail, trades, net)

    def _doubled(self, suspected: bool) -> Finding | None:
        """Fills that stand twice, under two ids, in the ledger or in the venue's list, while their order has them once.

        Two fills may be alike and both be real: what decides is how much the order itself says that it was filled.
        """
        start = self._settled(BreakKind.DOUBLED_FILL)
        unlisted = {fill.trade_id for fill in self._unlisted(self.since)}
        if unlisted or suspected:
            again = [fill for n, fill in enumerate(self.ledger) if any(_alike(fill, other) for other in self.ledger[:n])]
            again += [fill for fill in self.ledger if fill.trade_id in unlisted and fill not in again]
            for fill in sorted(again, key=lambda each: each.trade_id not in unlisted):
                if self._is_surplus(fill):
                    self.doubled.append(fill)
        doubled, copies = ([fill for fill in found if fill.at > start] for found in (self.doubled, self.copies))
        if not doubled and not copies:
            return None
        parts = [f"{_named(doubled)} once under another id, and the ledger has both"] if doubled else []
        parts += [f"{_named(copies)} twice in its list, and the ledger has it once"] if copies else []
        undo = {asset: -change for asset, change in summed([changes_of(fill) for fill in doubled]).items()}
        detail = f"by its orders the venue has {'; '.join(parts)}"
        return Finding(Break(self.desk.account, self.symbol, BreakKind.DOUBLED_FILL, detail), undo)

    def _is_copy(self, fill: Fill) -> bool:
        """Whether this trade, not booked yet, is one that is booked already: alike, and more than its order was filled."""
        if not any(_alike(fill, other) for other in self.ledger):
            return False
        filled = self._filled_at_venue(fill.client_order_id)
        return filled is not None and self._booked(fill.client_order_id) + fill.quantity > filled

    def _is_surplus(self, fill: Fill) -> bool:
        """Whether the order has this fill, which has a twin in the ledger, once less than the ledger."""
        if not any(_alike(fill, other) and other not in self.doubled for other in self.ledger if other is not fill):
            return False
        filled = self._filled_at_venue(fill.client_order_id)
        return filled is not None and self._booked(fill.client_order_id) - fill.quantity >= filled

    def _booked(self, name: str) -> Decimal:
        found = [each.quantity for each in self.ledger if each.client_order_id == name and each not in self.doubled]
        return sum(found, _ZERO)

    def _filled_at_venue(self, name: str) -> Decimal | None:
        """Return how much of the order the venue filled, by its own word; None where it does not know the order."""
        if name not in self._filled:
            try:
                self._filled[name] = self.desk.find_named(name, self.symbol).filled_quantity
            except (OrderNotFoundError, UnknownSymbolError):
                self._filled[name] = None
        return self._filled[name]

    def _figures(self) -> list[Finding]:
        """Fills whose quantity, price or fee is another at the venue. A fee in the base asset has a kind of its own."""
        base = self.symbol.split("/")[0]
        fees = [pair for pair in self._differing() if _same_trade(*pair) and pair[1].fee_asset == base]
        others = [pair for pair in self._differing() if pair not in fees]
        return [
            finding
            for kind, pairs in ((BreakKind.BASE_ASSET_FEE, fees), (BreakKind.FILL_DIFFERS, others))
            if (finding := self._corrected(kind, pairs)) is not None
        ]

    def _corrected(self, kind: BreakKind, pairs: Sequence[tuple[Fill, Fill]]) -> Finding | None:
        start = self._settled(kind)
        pairs = [(ours, theirs) for ours, theirs in pairs if theirs.at > start]
        if not pairs:
            return None
        taken = summed([changes_of(theirs) for _, theirs in pairs])
        booked = summed([changes_of(ours) for ours, _ in pairs])
        changes = {asset: taken.get(asset, _ZERO) - booked.get(asset, _ZERO) for asset in sorted({*taken, *booked})}
        ours, theirs = pairs[0]
        words = f"{len(pairs)} fills have other figures at the venue, first trade {theirs.trade_id}"
        if kind is BreakKind.BASE_ASSET_FEE:
            fees = sum((each.fee for _, each in pairs), _ZERO)
            words = f"the venue took {fees} {theirs.fee_asset} as the fee of {len(pairs)} fills, first trade {theirs.trade_id}"
        detail = f"{words}: {_figured(theirs)} at the venue, {_figured(ours)} in the ledger"
        return Finding(Break(self.desk.account, self.symbol, kind, detail), changes)

    def _differing(self) -> list[tuple[Fill, Fill]]:
        """Return the pairs, ours and theirs, whose figures differ. A venue that is silent about a fee contradicts none."""
        listed = {fill.trade_id: fill for fill in self.venue}
        pairs = [(ours, listed[ours.trade_id]) for ours in self.ledger if ours.trade_id in listed]
        return [
            (ours, theirs)
            for ours, theirs in pairs
            if not _same_trade(ours, theirs) or (theirs.fee and (ours.fee, ours.fee_asset) != (theirs.fee, theirs.fee_asset))
        ]

    def lacking(self, gaps: Gaps) -> Finding | None:
        """Return what the lists lack: a fill that is not shown (where a gap is left), or a history that was cut short."""
        if not self.told:
            return None
        base, quote = self.symbol.split("/")
        changes = {asset: gap for asset in (base, quote) if (gap := gaps.of(asset))} if gaps.of(base) else {}
        missing = self._not_shown() if changes else []
        if missing:
            detail = f"the venue filled {', '.join(missing)} further than its trades show"
            return Finding(Break(self.desk.account, self.symbol, BreakKind.MISSING_FILL, detail), changes)
        start = self._settled(BreakKind.TRUNCATED_TRADES)
        lost = self._unlisted(self.since if changes else self.due_since)
        cut = [fill for fill in lost if fill.at > start and fill not in self.doubled]
        if not cut:
            return None
        detail = f"the venue's trades lack {len(cut)} that the ledger has, first {cut[0].trade_id}: the rest is unknown too"
        return Finding(Break(self.desk.account, self.symbol, BreakKind.TRUNCATED_TRADES, detail), changes)

    def _unlisted(self, since: datetime | None) -> list[Fill]:
        """Return the ledger's fills from `since` on that the venue does not list; none where there is nothing to compare."""
        listed = {fill.trade_id for fill in self.venue}
        return [fill for fill in self.ledger if since is not None and fill.trade_id not in listed and fill.at >= since]

    def _not_shown(self) -> list[str]:
        """Return our orders of which the venue says that more was filled than the ledger has."""
        orders = [order for order in self.desk.ledger.orders(self.desk.account) if order.request.symbol == self.symbol]
        found: list[str] = []
        for order in orders[-_ORDERS_ASKED:]:
            name = order.request.client_order_id
            filled = self._filled_at_venue(name)
            if filled is not None and filled > order.filled_quantity:
                found.append(f"order {name} ({filled - order.filled_quantity})")
        return found

    def _settled(self, *kinds: BreakKind) -> datetime:
        """Return until when breaks of these kinds on the symbol are settled."""
        accepted = [each.at for each in self.accepted if each.kind in kinds and each.subject == self.symbol]
        return max([self.first_slot or self.since, *accepted])

    def _finding(self, kind: BreakKind, detail: str, trades: Sequence[Fill], net: Decimal | None = None) -> Finding:
        found = Break(self.desk.account, self.symbol, kind, detail, _ZERO, net)
        return Finding(found, summed([changes_of(fill) for fill in trades]))


def _same_trade(fill: Fill, other: Fill) -> bool:
    return (fill.side, fill.quantity, fill.price) == (other.side, other.quantity, other.price)


def _alike(fill: Fill, other: Fill) -> bool:
    return _same_trade(fill, other) and (fill.client_order_id, fill.at) == (other.client_order_id, other.at)


def _named(fills: Sequence[Fill]) -> str:
    return f"trade{'s' if len(fills) > 1 else ''} {', '.join(fill.trade_id for fill in fills)}"


def _figured(fill: Fill) -> str:
    return f"{fill.quantity} at {fill.price}, fee {fill.fee} {fill.fee_asset}"
