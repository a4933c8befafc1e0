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


@dataclass
class TradeHistory:
    """One symbol's trades since the account's first slot, as the venue and as the ledger have them."""

    desk: TradingDesk
    symbol: str
    since: datetime
    accepted: Sequence[BreakAcceptance] = ()
    venue: list[Fill] = field(default_factory=list)
    ledger: list[Fill] = field(default_factory=list)

    def book_ours(self, keeper: LeaseKeeper, ours: frozenset[str]) -> tuple[list[Fill], list[Finding]]:
        """Read both sides and book our trades that the ledger lacks; return those booked, and those it refused."""
        self.venue = self._listed()
        self.ledger = self._kept()
        known = {fill.trade_id for fill in self.ledger}
        booked: list[Fill] = []
        refused: list[Finding] = []
        for fill in self.venue:
            if fill.trade_id in known or fill.client_order_id not in ours:
                continue
            try:
                self.desk.ledger.book_fill(keeper.lease, fill)
                booked.append(fill)
            except IllegalTransitionError as refusal:
                detail = f"trade {fill.trade_id} of order {fill.client_order_id} cannot be booked: {refusal}"
                refused.append(self._finding(BreakKind.MISSING_FILL, detail, [fill]))
        self.ledger += booked
        return booked, refused

    def _listed(self) -> list[Fill]:
        try:
            return list(self.desk.exchange.fills(self.symbol, self.since - TRADES_MARGIN))
        except UnknownSymbolError:
            return []  # an asset without a market against the quote asset has no trades to explain it

    def _kept(self) -> list[Fill]:
        return list(self.desk.ledger.fills(self.desk.account, self.symbol))

    def findings(self, ours: frozenset[str]) -> list[Finding]:
        """Return the breaks that the two lists show by themselves."""
        found = [self._foreign(ours), self._doubled(), self._fees()]
        return [finding for finding in found if finding is not None]

    def _foreign(self, ours: frozenset[str]) -> Finding | None:
        """Trades by someone else, since they were last accepted; what was traded before the first slot came in with it."""
        start = self._settled(BreakKind.MANUAL_TRADE)
        trades = [fill for fill in self.venue if fill.client_order_id not in ours and fill.at > start]
        if not trades:
            return None
        net = sum((fill.side.sign * fill.quantity for fill in trades), _ZERO)
        detail = f"{len(trades)} trades by someone else, net {net}, last {trades[-1].trade_id}"
        return self._finding(BreakKind.MANUAL_TRADE, detail, trades, net)

    def _doubled(self) -> Finding | None:
        """Fills that the ledger has and the venue has not, while the venue has one just like it."""
        listed = {fill.trade_id for fill in self.venue}
        start = self._settled(BreakKind.DOUBLED_FILL)
        twins = [
            fill
            for fill in self.ledger
            if fill.trade_id not in listed
            and fill.at > start
            and any(other.trade_id in listed and _alike(fill, other) for other in self.ledger)
        ]
        if not twins:
            return None
        names = ", ".join(fill.trade_id for fill in twins)
        undo = {asset: -change for asset, change in summed([changes_of(fill) for fill in twins]).items()}
        detail = f"the ledger has {len(twins)} fills that the venue has once under another id: {names}"
        return Finding(Break(self.desk.account, self.symbol, BreakKind.DOUBLED_FILL, detail), undo)

    def _fees(self) -> Finding | None:
        """Fills whose fee the venue says was taken from the base asset, and the ledger has otherwise."""
        base, start = self.symbol.split("/")[0], self._settled(BreakKind.BASE_ASSET_FEE)
        booked = {fill.trade_id: fill for fill in self.ledger}
        pairs = [
            (booked[fill.trade_id], fill)
            for fill in self.venue
            if fill.trade_id in booked and fill.fee_asset == base and fill.fee > 0 and fill.at > start
        ]
        wrong = [(ours, theirs) for ours, theirs in pairs if (ours.fee, ours.fee_asset) != (theirs.fee, theirs.fee_asset)]
        if not wrong:
            return None
        changes = summed([{theirs.fee_asset: -theirs.fee} for _, theirs in wrong] + [{o.fee_asset: o.fee} for o, _ in wrong])
        fees = sum((theirs.fee for _, theirs in wrong), _ZERO)
        detail = f"the venue took {fees} {base} as the fee of {len(wrong)} fills that the ledger booked with another fee"
        return Finding(Break(self.desk.account, self.symbol, BreakKind.BASE_ASSET_FEE, detail), changes)

    def lacking(self, gaps: Gaps) -> Finding | None:
        """Return what the lists lack, where a gap of the base asset is left: a history cut short, or a fill not shown."""
        base, quote = self.symbol.split("/")
        if not gaps.of(base):
            return None
        changes = {asset: gap for asset in (base, quote) if (gap := gaps.of(asset))}
        listed = {fill.trade_id for fill in self.venue}
        cut = [fill for fill in self.ledger if fill.trade_id not in listed and fill.at >= self.since]
        missing = self._not_shown()
        if missing:
            detail = f"the venue filled {', '.join(missing)} further than its trades show"
            return Finding(Break(self.desk.account, self.symbol, BreakKind.MISSING_FILL, detail), changes)
        if cut:
            detail = f"the venue's trades lack {len(cut)} that the ledger has, first {cut[0].trade_id}: the rest is unknown too"
            return Finding(Break(self.desk.account, self.symbol, BreakKind.TRUNCATED_TRADES, detail), changes)
        return None

    def _not_shown(self) -> list[str]:
        """Return our orders of which the venue says that more was filled than the ledger has."""
        orders = [order for order in self.desk.ledger.orders(self.desk.account) if order.request.symbol == self.symbol]
        found: list[str] = []
        for order in orders[-_ORDERS_ASKED:]:
            try:
                report = self.desk.exchange.find_order(order.request.client_order_id, self.symbol)
            except OrderNotFoundError:
                continue
            if report.filled_quantity > order.filled_quantity:
                found.append(f"order {order.request.client_order_id} ({report.filled_quantity - order.filled_quantity})")
        return found

    def _settled(self, kind: BreakKind) -> datetime:
        """Return until when breaks of this kind on the symbol are settled."""
        accepted = (each.at for each in self.accepted if each.kind is kind and each.subject == self.symbol)
        return max((self.since, *accepted))

    def _finding(self, kind: BreakKind, detail: str, trades: Sequence[Fill], net: Decimal | None = None) -> Finding:
        found = Break(self.desk.account, self.symbol, kind, detail, _ZERO, net)
        return Finding(found, summed([changes_of(fill) for fill in trades]))


def _alike(fill: Fill, other: Fill) -> bool:
    return (fill.client_order_id, fill.side, fill.quantity, fill.price, fill.at) == (
        *(other.client_order_id, other.side, other.quantity, other.price, other.at),
    )
