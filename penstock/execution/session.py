"""One account as execution sees it: its venue, stores, clocks, kill switch and waiting times."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cached_property

from pydantic import BaseModel, ConfigDict, Field

from penstock.core.clock import Clock, MachineClock
from penstock.core.halts import Halt
from penstock.core.ids import IdSource
from penstock.core.instruments import is_spot_symbol, spot_assets
from penstock.core.orders import OrderReport, OrderRequest
from penstock.core.positions import reduces
from penstock.execution.algorithms.styles import MarketStyle, Style
from penstock.execution.algorithms.volume import VolumeProfile
from penstock.execution.kill_switch import KillSwitch, SwitchWatch
from penstock.ports import (
    ControlStore,
    Exchange,
    Ledger,
    ParentOrderStore,
    TaskRunner,
    Venues,
)

#: Returns how the volume of a symbol is spread over the day, as known at a slot.
VolumeProfiles = Callable[[str, datetime], VolumeProfile]


class ExecutionPolicy(BaseModel):
    """How long execution waits, and for what. All times are in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_lateness_seconds: float = Field(default=3600, gt=0)
    """A slot is skipped where the venue's clock is later than this after the slot."""

    lease_ttl_seconds: float = Field(default=60, gt=0)
    """How long a lease on the account lives unless it is renewed."""

    lease_wait_seconds: float = Field(default=75, ge=0)
    """How long a run waits for another holder's lease to end."""

    poll_seconds: float = Field(default=0.25, gt=0)
    """The pause between two questions to the venue about the same orders."""

    follow_timeout_seconds: float = Field(default=30, gt=0)
    """An order that still works after this time is cancelled, unless its style says otherwise."""

    visibility_delay_seconds: float = Field(default=95, gt=0)
    """How long "no such order" is doubted after a lost request.

    It must exceed the age up to which the venue accepts a request. It must also exceed the longest
    time in which an accepted order is missing from the venue's answers. A delay that is too short
    can send an order twice. The adapters know it for each venue; the default is the longest.
    """

    refusal_lag_seconds: float = Field(default=2, ge=0)
    """How long after a refusal the venue is asked whether it has the order all the same.

    A venue's lists lag behind its answers. The adapters know by how much; the default is the
    longest.
    """

    dust_notional: float = Field(default=0.01, ge=0)
    """A difference between ledger and venue worth no more than this is dust (quote units)."""

    senders: int = Field(default=1, ge=1, le=16)
    """How many requests of one phase may be under way at once.

    When the kill switch is set, the requests that are under way still leave.
    """

    trade_comparison_seconds: float = Field(default=0, ge=0)
    """How old a fill may be before a slot compares it with the venue's list of trades.

    Where a balance differs all fills are compared at once, whatever their age.
    """

    kill_switch_seconds: float = Field(default=0.05, ge=0, le=0.5)
    """How old the last reading of the kill switch may be when an order leaves."""

    longest_pacing_seconds: float = Field(default=30, ge=0)
    """How long in all an order waits to be sent again where the venue refuses it for its rate
    (429)."""


@dataclass(frozen=True, kw_only=True)
class AccountSession:
    """One account and everything needed to trade it."""

    account: str
    """The account's name in the ledger."""

    exchange_name: str
    """The name of the exchange as the ledger keeps it."""

    quote: str
    """The asset that the account's cash is in."""

    exchange: Exchange
    """The venue, or all venues of the account as one."""

    ledger: Ledger
    """Orders, fills and positions, written ahead."""

    parent_orders: ParentOrderStore
    """The parent orders of each slot, committed before the first of their child orders leaves."""

    control_store: ControlStore
    """Trading state, breaks, verdicts and the account's risk history."""

    clock: Clock
    """The time at the venue: it dates records, and schedules and limits count by it."""

    kill_switch: KillSwitch
    """What stops new orders."""

    policy: ExecutionPolicy
    """How long execution waits, and for what."""

    machine_clock: MachineClock
    """Waits for leases, measures how old they are, and dates the requests that we sign."""

    pause: Callable[[float], None]
    """Waits between questions to the venue, in the machine's time.

    A stepped venue clock stands still meanwhile. A test may step it here.
    """

    runner: TaskRunner
    """Runs requests to the venue at the same time."""

    ids: IdSource
    """Names each holder of the account's lease."""

    venues: Venues | None = None
    """The single venues of an account on several, over which child orders are divided; else
    None."""

    style: Style = field(default_factory=MarketStyle)
    """The style in which orders are worked."""

    volume_profiles: VolumeProfiles | None = None
    """The volume by time of day, for VWAP. Without it volume counts as even."""

    @cached_property
    def switch(self) -> SwitchWatch:
        """The kill switch. What is looked at again within `policy.kill_switch_seconds` is read
        once."""
        return SwitchWatch(self.kill_switch, self.policy.kill_switch_seconds)

    def position(self, symbol: str) -> Decimal:
        """Return the ledger's signed quantity of a symbol: for spot the balance of its base."""
        if is_spot_symbol(symbol):
            return self.ledger.balances(self.account).get(spot_assets(symbol)[0], Decimal(0))
        return self.ledger.positions(self.account).get(symbol, Decimal(0))

    def reduces(self, order: OrderRequest) -> bool:
        """Return whether the order makes the ledger's position in its symbol smaller."""
        return reduces(order, self.position(order.symbol))

    def forbids(self, halt: Halt, order: OrderRequest) -> bool:
        """Return whether the state forbids the order.

        The ledger is read only where the answer depends on whether the order reduces.
        """
        if halt.forbids(reduces=True) == halt.forbids(reduces=False):
            return halt.forbids(reduces=False)
        return halt.forbids(reduces=self.reduces(order))

    def find_order(self, order: OrderRequest) -> OrderReport:
        """Ask for the order, as Exchange.find_order does, at the venue that its intent names."""
        if self.venues is not None and order.venue:
            return self.venues.find_order_at(order.venue, order.client_order_id, order.symbol)
        return self.exchange.find_order(order.client_order_id, order.symbol)

    def find_named(self, client_order_id: str, symbol: str) -> OrderReport:
        """Ask for an order by its id alone; the ledger knows at which venue it was sent."""
        if self.venues is not None:
            known = self.ledger.orders_named(self.account, [client_order_id])
            if known:
                return self.find_order(known[0].request)
        return self.exchange.find_order(client_order_id, symbol)

    def cancel(self, order: OrderRequest) -> OrderReport:
        """Cancel the order, as Exchange.cancel does, at the venue that its intent names."""
        if self.venues is not None and order.venue:
            return self.venues.cancel_at(order.venue, order.client_order_id, order.symbol)
        return self.exchange.cancel(order.client_order_id, order.symbol)
