"""Differences between ledger and venue, and what an operator's acceptance of one books."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from penstock.core.amounts import signed
from penstock.core.instruments import Instrument, is_spot_symbol, spot_assets


class BreakKind(StrEnum):
    """Ways in which ledger and venue can disagree."""

    BALANCE_MISMATCH = "balance_mismatch"
    MISSING_FILL = "missing_fill"
    DOUBLED_FILL = "doubled_fill"
    OVERFILL = "overfill"
    UNKNOWN_ORDER = "unknown_order"
    ORDER_GONE = "order_gone"
    MANUAL_TRADE = "manual_trade"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    EARN_BALANCE = "earn_balance"
    TRUNCATED_TRADES = "truncated_trades"
    BASE_ASSET_FEE = "base_asset_fee"
    FILL_DIFFERS = "fill_differs"
    DUST = "dust"
    INSTRUMENT_CHANGED = "instrument_changed"


@dataclass(frozen=True)
class Break:
    """A difference between ledger and venue. While it is open its subject is locked for trading."""

    account: str
    """The account whose ledger and venue differ."""
    subject: str
    """The symbol or the asset that differs."""
    kind: BreakKind
    """In which way they differ."""
    detail: str
    """What was seen, as a sentence."""
    ledger_value: Decimal | None = None
    """What the ledger has; None where there is no single value."""
    venue_value: Decimal | None = None
    """What the venue has; None where there is no single value."""
    changes: Mapping[str, Decimal] | None = None
    """What accepting it would book, by asset; None where that was not kept."""

    @property
    def message(self) -> str:
        """The detail, and what accepting the break books."""
        booked = ", ".join(
            f"{signed(change)} {asset}"
            for asset, change in sorted((self.changes or {}).items())
            if change
        )
        return f"{self.detail} (accepting books {booked})" if booked else self.detail


@dataclass(frozen=True)
class PastBreak:
    """A break that was opened, and when and why it was closed."""

    opened_at: datetime
    """When it was found."""
    closed_at: datetime | None
    """When it was closed; None while it is open."""
    subject: str
    """The symbol or the asset that differed."""
    kind: BreakKind
    """In which way ledger and venue differed."""
    detail: str
    """What was seen, as a sentence."""
    closed_reason: str
    """Why it was closed; "" while it is open."""


@dataclass(frozen=True)
class TradeMark:
    """How far a symbol's fills were compared with the venue's trades, one by one."""

    symbol: str
    """The symbol."""
    since: datetime
    """Trades from this time on are compared (UTC). It is the time of the newest fill that was found
    equal, or of the oldest fill not compared yet, whichever is earlier."""
    newest: int
    """The newest fill there is, by its sequence in the ledger."""
    due_since: datetime | None
    """The time of the oldest fill that was not compared yet; None where all were."""


@dataclass(frozen=True)
class BreakAcceptance:
    """An operator's acceptance: the ledger takes over what the venue has."""

    account: str
    """The account's name."""
    subject: str
    """The symbol or the asset whose break is accepted."""
    kind: BreakKind
    """The kind of the break."""
    reason: str
    """Why, as the operator says."""
    by: str
    """The operator's name."""
    at: datetime
    """When it was accepted (UTC)."""
    value: Decimal = Decimal(0)
    """What it changed equity by (quote units)."""

    @property
    def message(self) -> str:
        """The reason that is kept with everything the acceptance writes."""
        return f"accepted {self.kind} by {self.by}: {self.reason}"


@dataclass(frozen=True)
class Settlement:
    """An acceptance with all that follows from it, to be written in one transaction."""

    accepted: BreakAcceptance
    """The acceptance."""
    changes: Mapping[str, Decimal] = field(default_factory=dict)
    """The changes of balances to be booked, by asset."""
    orders: tuple[str, ...] = ()
    """The client order ids of the orders to be cancelled in the ledger."""
    instrument: Instrument | None = None
    """The instrument to plan with from now on; None where it stays as it is."""


def lock_subjects(symbol: str) -> tuple[str, str]:
    """Return the subjects whose open break locks a symbol: the symbol itself and its base asset."""
    return symbol, spot_assets(symbol)[0]


def subject_assets(subject: str) -> tuple[str, ...]:
    """Return the assets that a break is about: base and quote of a symbol, or the asset itself."""
    return spot_assets(subject) if is_spot_symbol(subject) else (subject,)
