"""What risk rules see during one slot: the account as it is, read again when time has passed.

The rules are in penstock.risk. What follows from their findings is for penstock.execution.pretrade.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from penstock.core.cost_basis import entry_prices
from penstock.core.errors import VenueError
from penstock.core.halts import Halt
from penstock.core.orders import Fill
from penstock.core.proposals import ProposedOrder
from penstock.core.risk_records import RiskHistory
from penstock.core.timeframes import Timeframe
from penstock.execution.reconciliation.reconcile import locks_of
from penstock.execution.session import AccountSession
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import Book
from penstock.risk.limits import RiskLimits
from penstock.risk.rules import RiskContext

#: Counts of orders and trades are read again after this time, by the venue's clock.
_COUNTS_HOLD = timedelta(seconds=10)


@dataclass(kw_only=True)
class RiskView:
    """One slot's view of the account, as RiskContext shows it to the rules.

    Working orders are not in it. Every order of an earlier slot has ended before a slot is planned.
    Every child order has ended before the next review. So positions and cash are final. Where an
    order cannot be brought to its end, the phase stops.

    A position too small to be sold (dust) counts with its value. A denied order still counts among
    the orders under review, for later orders and for limits on their sum. So a limit may deny more
    than it must, never less.
    """

    session: AccountSession
    """The account that trades."""

    limits: RiskLimits
    """What the risk rules allow."""

    slot: datetime
    """The bar close that the slot acts on."""

    locks: Mapping[str, str]
    """The reason for each locked subject (symbol or asset)."""

    halt: Halt
    """The trading state, as last read."""

    timeframe: Timeframe | None = None
    """The bars that were decided on; None where they do not age."""

    exits: frozenset[str] = frozenset()
    """The symbols whose position is being closed by a rule or an operator."""

    history: RiskHistory = field(default_factory=RiskHistory)
    """What the account did before, as last read. What an open break says is gone is not in it."""

    quote_alert: str = ""
    """Why mid prices could not be read the first time that this happened; "" where it did not."""

    _entries: Mapping[str, Decimal] = field(default_factory=dict)
    _counted_at: datetime | None = None
    _begun_at: datetime | None = None

    def read(self, book: Book, targets: PortfolioTargets) -> RiskContext:
        """Return the context of this book, with the account's history read now."""
        session = self.session
        self._counted_at = session.clock.now()
        self._begun_at = self._begun_at or self._counted_at
        self.history = session.control_store.risk_history(
            session.account, self.slot, self._counted_at
        )
        if self.limits.guards_positions:
            self._entries = entry_prices(session.ledger.cost_bases(session.account))
        return self.context(book, targets)

    def read_again(self, book: Book, targets: PortfolioTargets) -> RiskContext:
        """Return the context with history and locks read now, and the trading state.

        Locks are those of the open breaks in the control store; nothing is compared with the venue.
        What is gone by an open break follows from the locks that the book was read with. Bars have
        aged since the run began.
        """
        self.halt = self.session.switch.look()
        context = self.read(book, targets)
        self.locks = locks_of(self.session.control_store.open_breaks(self.session.account))
        return replace(context, locks=self.locks, aged_seconds=self._aged_seconds())

    def _aged_seconds(self) -> float:
        """Return the time between the newest bar close and the newest when the run began."""
        if self.timeframe is None or self._begun_at is None or self._counted_at is None:
            return 0.0
        closed, begun = map(self.timeframe.floor, (self._counted_at, self._begun_at))
        return (closed - begun).total_seconds()

    def refreshed(self, book: Book, targets: PortfolioTargets) -> RiskContext:
        """Return the context of this book with the trading state as it is.

        Counts are read again where ten seconds or midnight have passed since. What this run has
        done since is in them.
        """
        self.halt = self.session.switch.look()
        now, last = self.session.clock.now(), self._counted_at
        if last is None or now - last >= _COUNTS_HOLD or now.date() != last.date():
            fresh = self.session.control_store.risk_history(self.session.account, self.slot, now)
            self._counted_at = now
            self.history = replace(
                self.history,
                orders_last_minute=fresh.orders_last_minute,
                orders_today=fresh.orders_today,
                traded_last_hour=fresh.traded_last_hour,
            )
        return self.context(book, targets)

    def count(self, orders: int, fills: Sequence[Fill] = ()) -> None:
        """Add orders that this run has written ahead, and fills that it has booked, to the counts.

        An order of the last minute counts until the counts are read again.
        """
        since = self.slot - timedelta(hours=1)
        traded = sum((fill.quantity * fill.price for fill in fills if fill.at >= since), Decimal(0))
        self.history = replace(
            self.history,
            orders_last_minute=self.history.orders_last_minute + orders,
            orders_today=self.history.orders_today + orders,
            traded_last_hour=self.history.traded_last_hour + traded,
        )

    def context(self, book: Book, targets: PortfolioTargets) -> RiskContext:
        """Return the context of this book with everything else as last read.

        What an open break says is gone counts as a transfer until the break is closed.
        """
        gone = book.missing_value
        return RiskContext(
            slot=self.slot,
            equity=book.equity,
            positions=book.positions,
            prices=book.prices,
            instruments=book.instruments,
            seen=targets.seen,
            halt=self.halt,
            locks=self.locks,
            weights=targets.weights,
            contributions=targets.contributions,
            quotas=targets.quotas,
            history=replace(self.history, transferred=self.history.transferred - gone),
            entries=self._entries,
            crumbs=book.crumbs,
            exits=self.exits,
            unsure=book.unsure,
            unknown=book.valuation.unknown,
        )

    def quoted(
        self,
        context: RiskContext,
        orders: Sequence[ProposedOrder],
        requests: Mapping[str, tuple[float, ...]],
    ) -> RiskContext:
        """Return the context with mid prices, and when requests leave (seconds from now).

        Mid prices are read for the symbols of `orders`, and only where a rule needs them.
        """
        if self.limits.price_collar is None or not orders:
            return replace(context, requests=requests)
        try:
            quotes = self.session.exchange.quotes(sorted({order.symbol for order in orders}))
        except VenueError as error:
            self.quote_alert = self.quote_alert or (
                f"{self.session.account}: no order passes the price collar, quotes cannot be read: "
                f"{error}"
            )
            return replace(context, unquoted=str(error), requests=requests)
        mids = {symbol: quote.mid for symbol, quote in quotes.items()}
        apart = {symbol: quote.half_spread for symbol, quote in quotes.items()}
        return replace(context, mids=mids, half_spreads=apart, requests=requests)
