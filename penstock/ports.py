"""What Penstock needs of the outside world, as Protocols whose docstrings promise behaviour.

Adapters keep these promises and the suites in tests/contracts hold them to it. Signatures speak only the words of
penstock.core.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

import polars as pl

from penstock.core.accounts import (
    Break,
    BreakKind,
    Halt,
    Lease,
    OrderRecord,
    PlannedOrder,
    Rebalance,
    RebalanceStatus,
    TradingState,
)
from penstock.core.instruments import Instrument
from penstock.core.orders import Fill, OrderEvent, OrderEventKind, OrderReport, OrderRequest, OrderState
from penstock.core.strategy import Strategy
from penstock.core.timeframes import Timeframe


class MarketData(Protocol):
    """A venue's public side. Thread-safe; keeps to the venue's rate limit by itself.

    Every method raises VenueUnavailableError (or RateLimitedError) where there was no usable answer.
    """

    def now(self) -> datetime:
        """Return the venue's own time, UTC."""
        ...

    def instruments(self) -> Mapping[str, Instrument]:
        """Return the tradable spot instruments by symbol ("BTC/USDT"). Asks the venue each time."""
        ...

    def fetch_bars(self, symbol: str, timeframe: Timeframe, since: datetime, limit: int) -> pl.DataFrame:
        """Return up to `limit` bars (BARS_SCHEMA) that open at or after `since`, as the venue sends them.

        The last one may be unclosed, bars may be missing or out of order: checking is the caller's.
        Raises UnknownSymbolError for a symbol that the venue does not list.
        """
        ...

    def last_prices(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        """Return the last traded price of each symbol, in quote units; a symbol without a price is absent."""
        ...


class Exchange(MarketData, Protocol):
    """A venue with an account on it: MarketData, and trading.

    A call that changes state and gets no usable answer raises VenueUnavailableError: the order is then UNKNOWN.
    VenueRejectedError and its subclasses are the venue's own word that nothing was changed.
    """

    def balances(self) -> Mapping[str, Decimal]:
        """Return the total (free and locked) of every asset whose total is not zero."""
        ...

    def submit(self, order: OrderRequest) -> OrderReport:
        """Send the order once (never retried inside). DuplicateOrderError where the venue has this client order id."""
        ...

    def find_order(self, client_order_id: str, symbol: str) -> OrderReport:
        """Return the order with this client order id, open or ended; OrderNotFoundError where the venue has none."""
        ...

    def cancel(self, client_order_id: str, symbol: str) -> OrderReport:
        """Cancel what is left of an order and return its report; OrderNotFoundError where it is not open."""
        ...

    def open_orders(self) -> Sequence[OrderReport]:
        """Return every order that is working at the venue, ours or not."""
        ...

    def fills(self, symbol: str, since: datetime) -> Sequence[Fill]:
        """Return the account's trades in `symbol` from `since` on, oldest first, all pages.

        `client_order_id` is "" where the venue's trade names an order we cannot map.
        """
        ...


@dataclass(frozen=True)
class BarBatch:
    """What one ingestion of one symbol wants stored, all or nothing.

    `quarantined` has BARS_SCHEMA plus a text column `reason`. `checks` has columns check, success, observed, bound,
    detail. `watermark` is the open time from which the next ingestion resumes minus one bar: the newest bar that is done.
    """

    exchange: str
    symbol: str
    timeframe: Timeframe
    bars: pl.DataFrame
    quarantined: pl.DataFrame
    checks: pl.DataFrame
    watermark: datetime | None


@dataclass(frozen=True)
class BatchResult:
    """Rows written: not seen before, replaced (the old values are kept as revisions), and identical already."""

    new: int
    revised: int
    unchanged: int
    quarantined: int


class BarStore(Protocol):
    """The record of bars, their revisions, and what was refused. Raises StoreError when the database fails."""

    def save_instruments(self, exchange: str, instruments: Sequence[Instrument]) -> None:
        """Insert or update the instruments of a venue."""
        ...

    def save_batch(self, batch: BarBatch) -> BatchResult:
        """Store bars, quarantine, check results and watermark in one transaction. Storing it again changes nothing."""
        ...

    def read_bars(
        self,
        exchange: str,
        timeframe: Timeframe,
        symbols: Sequence[str],
        start: datetime | None = None,
        end: datetime | None = None,
        known_at: datetime | None = None,
    ) -> pl.DataFrame:
        """Return bars (BARS_SCHEMA, sorted by symbol, ts) with start <= ts < end.

        With `known_at`, values are those the store held at that instant: later bars are absent, later revisions undone.
        """
        ...

    def watermarks(self, exchange: str, timeframe: Timeframe) -> Mapping[str, datetime]:
        """Return, per symbol, the open time of the newest bar that is done with."""
        ...

    def read_quarantine(self, exchange: str, timeframe: Timeframe, symbol: str | None = None) -> pl.DataFrame:
        """Return quarantined rows: BARS_SCHEMA plus reason and quarantined_at."""
        ...

    def save_snapshot(
        self, content_hash: str, exchange: str, timeframe: Timeframe, symbols: Sequence[str], rows: int, uri: str
    ) -> None:
        """Record a snapshot; recording the same hash again changes nothing."""
        ...


class Ledger(Protocol):
    """The write-ahead record of an account's orders. Append-only events; orders and positions are read models of them.

    Every write takes the lease and is refused with StaleLeaseError, by the database, once a later lease exists.
    """

    def open_account(self, account: str, exchange: str, quote: str) -> None:
        """Create the account; opening it again changes nothing."""
        ...

    def acquire_lease(self, account: str, holder: str, ttl_seconds: float) -> Lease | None:
        """Return a lease with a new, higher token, or None while another holder's lease is alive.

        The same holder may acquire again (renew); its older token is void then.
        """
        ...

    def release_lease(self, lease: Lease) -> None:
        """Let go of the lease; releasing a stale one changes nothing."""
        ...

    def start_rebalance(self, lease: Lease, slot: datetime, portfolio_version: str) -> Rebalance:
        """Return the rebalance of (account, slot), created as RUNNING where there is none yet."""
        ...

    def end_rebalance(self, lease: Lease, rebalance_id: int, status: RebalanceStatus, reason: str = "") -> None:
        """Set the final status of a rebalance."""
        ...

    def rebalances(self, account: str, limit: int = 100) -> Sequence[Rebalance]:
        """Return the newest rebalances first."""
        ...

    def record_targets(self, lease: Lease, rebalance_id: int, targets: Mapping[str, float]) -> None:
        """Keep the target weights (fractions of equity by symbol) that a rebalance works towards."""
        ...

    def plan_orders(self, lease: Lease, rebalance_id: int, orders: Sequence[PlannedOrder], at: datetime | None = None) -> None:
        """Commit the intents as PLANNED, all or none, stamped `at` (default: the database's time).

        An intent whose client order id exists already is left as it is.
        """
        ...

    def write_ahead(
        self,
        lease: Lease,
        rebalance_id: int,
        orders: Sequence[PlannedOrder],
        events: Sequence[OrderEvent],
        at: datetime | None = None,
    ) -> None:
        """Commit the intents as plan_orders does and, in the same transaction, the events that they begin with.

        Raises as record_events does: an intent that exists already and has begun refuses to begin again.
        """
        ...

    def record_event(
        self,
        lease: Lease,
        client_order_id: str,
        event: OrderEventKind,
        at: datetime,
        reason: str = "",
        venue_order_id: str = "",
    ) -> OrderState:
        """Append the event and move the order along the table; return the new state.

        An illegal event is appended with its refusal and raises IllegalTransitionError. Fills go through book_fill.
        """
        ...

    def book_fill(self, lease: Lease, fill: Fill) -> bool:
        """Append the fill, its order event and the position change in one transaction; False where it is booked already.

        Keyed by (account, symbol, venue trade id). A fill beyond the order's quantity is booked as it is.
        """
        ...

    def record_events(self, lease: Lease, events: Sequence[OrderEvent]) -> Sequence[OrderState]:
        """Append the events in their order, in one transaction; return the state that each one led to.

        As record_event, many at once: illegal events are appended with their refusal, the others take effect, and then
        IllegalTransitionError names the illegal ones. StoreError (an unknown order, a fill event) leaves nothing.
        """
        ...

    def book_fills(self, lease: Lease, fills: Sequence[Fill]) -> Sequence[Fill]:
        """Append the fills in their order, in one transaction; return those that were not booked before.

        As book_fill, many at once: refused fills are appended as refused events, the others are booked, and then
        IllegalTransitionError names the refused ones. StoreError (an unknown order) leaves nothing.
        """
        ...

    def book_adjustment(self, lease: Lease, asset: str, quantity: Decimal, reason: str, at: datetime) -> None:
        """Append a change of a position that no fill explains: opening balance, deposit, withdrawal, accepted break."""
        ...

    def orders(self, account: str, unfinished_only: bool = False, rebalance_id: int | None = None) -> Sequence[OrderRecord]:
        """Return the account's orders, oldest first."""
        ...

    def fills(self, account: str, symbol: str | None = None) -> Sequence[Fill]:
        """Return the account's booked fills, oldest first."""
        ...

    def positions(self, account: str) -> Mapping[str, Decimal]:
        """Return the quantity of every asset, the quote asset included; assets at zero are absent."""
        ...


class Supervision(Protocol):
    """What stops trading: breaks, halts, and the account's equity record."""

    def open_break(self, found: Break, at: datetime) -> bool:
        """Record a break; False where the same (account, subject, kind) is open already."""
        ...

    def close_break(self, account: str, subject: str, kind: BreakKind, at: datetime, reason: str) -> bool:
        """Close an open break; False where there is none."""
        ...

    def open_breaks(self, account: str) -> Sequence[Break]:
        """Return the breaks that lock something now."""
        ...

    def set_trading_state(self, account: str, state: TradingState, reason: str, by: str, at: datetime) -> None:
        """Set the state of an account, or of every account with "*". History is kept."""
        ...

    def trading_state(self, account: str) -> Halt:
        """Return the strictest state in force for the account: its own or that of "*"; ACTIVE where none was ever set."""
        ...

    def record_equity(self, account: str, at: datetime, equity: Decimal, cash: Decimal) -> None:
        """Record the account's equity in quote units; recording the same instant again replaces it."""
        ...

    def equity_history(self, account: str) -> pl.DataFrame:
        """Return columns at (ms, UTC), equity, cash (float64, quote units), oldest first."""
        ...


@dataclass(frozen=True)
class ModelVersion:
    """A registered, content-addressed strategy version. `tags` carry dataset hash, search id, commit and metrics."""

    name: str
    version: str
    run_id: str
    aliases: Sequence[str]
    tags: Mapping[str, str]

    @property
    def label(self) -> str:
        return f"{self.name}/{self.version}"


@dataclass(frozen=True)
class LoadedModel:
    """A strategy built from a registered version's own code and parameters, not from this checkout."""

    version: ModelVersion
    strategy: Strategy


class Registry(Protocol):
    """Registered strategy versions and their aliases (champion, challenger, previous)."""

    def find(self, name: str, alias_or_version: str) -> ModelVersion | None:
        """Return the version under this alias or number, or None."""
        ...

    def versions(self, name: str) -> Sequence[ModelVersion]:
        """Return all versions of a model, newest first."""
        ...

    def move_alias(self, name: str, alias: str, version: str) -> None:
        """Point the alias at the version."""
        ...

    def load(self, name: str, alias_or_version: str) -> LoadedModel:
        """Return the strategy of a version; PromotionError where there is none or it cannot be loaded."""
        ...


class Notifier(Protocol):
    """Where alerts go."""

    def notify(self, title: str, body: str) -> None:
        """Send an alert; a channel that fails is logged, never raised: an alert must not stop an order's bookkeeping."""
        ...
