"""What execution works with: one account's venue, ledger, supervision, clock and kill switch, and
how patient it is.
"""

from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from penstock.core.clock import Clock, MachineClock
from penstock.core.ids import IdSource
from penstock.core.orders import OrderReport, OrderRequest
from penstock.execution.algorithms.workbench import Workbench
from penstock.execution.kill_switch import KillSwitch
from penstock.ports import ControlStore, Exchange, Ledger, TaskRunner, Venues


class ExecutionPolicy(BaseModel):
    """How long execution waits, and for what.

    `visibility_delay_seconds`: how long "no such order" is doubted after a lost request; it must
    exceed the time for which the venue accepts an old request and the longest that an accepted
    order stays out of its answers: whoever believes too early sends a second order. The adapters
    know it of each venue (`request_age.visibility_delay`); the default is that of the slowest.
    `dust_notional` (quote units): a smaller difference between ledger and venue is not a break.
    `senders`: how many requests of one phase may be under way at once; with more than one, as many
    as are under way when the kill switch is thrown still leave. `kill_switch_seconds`: how old the
    kill switch's last word may be when an order leaves. `longest_pacing_seconds`: how long in all
    an order that the venue refuses for its rate (429) waits to be sent again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_lateness_seconds: float = Field(default=3600, gt=0)
    lease_ttl_seconds: float = Field(default=60, gt=0)
    lease_wait_seconds: float = Field(default=75, ge=0)
    poll_seconds: float = Field(default=0.25, gt=0)
    follow_timeout_seconds: float = Field(default=30, gt=0)
    visibility_delay_seconds: float = Field(default=95, gt=0)
    dust_notional: float = Field(default=0.01, ge=0)
    senders: int = Field(default=1, ge=1, le=16)
    kill_switch_seconds: float = Field(default=0.05, ge=0, le=0.5)
    longest_pacing_seconds: float = Field(default=30, ge=0)


@dataclass(frozen=True)
class AccountSession:
    """One account and everything needed to trade it.

    `clock` says what time it is at the venue. `machine_clock` waits between questions to the venue,
    because a stepped venue's clock does not move while it is watched; it measures how old a lease
    is, and dates what we sign. `runner` asks and sends side by side. Without a `workbench`
    every order goes out whole and at once. `venues` are those of an account that trades on several,
    which `exchange` then is as one: each order is divided over them.
    """

    account: str
    exchange_name: str
    quote: str
    exchange: Exchange
    ledger: Ledger
    control_store: ControlStore
    clock: Clock
    kill_switch: KillSwitch
    policy: ExecutionPolicy
    workbench: Workbench | None = None
    venues: Venues | None = None
    machine_clock: MachineClock = field(kw_only=True)
    runner: TaskRunner = field(kw_only=True)
    ids: IdSource = field(kw_only=True)

    def pause(self, seconds: float) -> None:
        """Wait for `seconds` of the machine's time."""
        self.machine_clock.sleep(seconds)

    def find_order(self, order: OrderRequest) -> OrderReport:
        """Ask for the order, as Exchange.find_order does, at the venue that its intent names."""
        if self.venues is not None and order.venue:
            return self.venues.find_order_at(order.venue, order.client_order_id, order.symbol)
        return self.exchange.find_order(order.client_order_id, order.symbol)

    def find_named(self, client_order_id: str, symbol: str) -> OrderReport:
        """Ask for an order of which only the name is at hand; the ledger knows where it was sent."""
        known = (
            self.ledger.orders_named(self.account, [client_order_id])
            if self.venues is not None
            else []
        )
        return (
            self.find_order(known[0].request)
            if known
            else self.exchange.find_order(client_order_id, symbol)
        )

    def cancel(self, order: OrderRequest) -> OrderReport:
        """Cancel the order, as Exchange.cancel does, at the venue that its intent names."""
        if self.venues is not None and order.venue:
            return self.venues.cancel_at(order.venue, order.client_order_id, order.symbol)
        return self.exchange.cancel(order.client_order_id, order.symbol)
