"""One account in memory with all that execution needs, and one that trades at two venues."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from penstock.adapters.exchanges.several_venues import SeveralVenues
from penstock.core.clock import SteppedClock
from penstock.core.executor import InlineRunner
from penstock.core.ids import CountedIds
from penstock.core.proposals import SeenBar
from penstock.execution.kill_switch import KillSwitch
from penstock.execution.rebalance.run import RebalanceInputs
from penstock.execution.session import AccountSession, ExecutionPolicy
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.risk.limits import RiskLimits
from penstock.testing.instruments import SLOT
from penstock.testing.memory_control_store import MemoryControlStore
from penstock.testing.memory_ledger import MemoryLedger
from penstock.testing.memory_parent_orders import MemoryParentOrderStore
from penstock.testing.memory_venue import MemoryVenue, OneOfTwo


@dataclass
class World:
    """One account at one venue with its ledger, and the inputs of a rebalance; tests change what
    they are about.
    """

    ledger: MemoryLedger
    control_store: MemoryControlStore
    venue: MemoryVenue
    clock: SteppedClock
    session: AccountSession

    def inputs(
        self, weights: Mapping[str, float | None], slot: datetime = SLOT, version: str = "trend/1"
    ) -> RebalanceInputs:
        def decide(asked: str) -> PortfolioTargets:
            seen = {
                symbol: SeenBar(slot, float(price)) for symbol, price in self.venue.prices.items()
            }
            return PortfolioTargets(
                asked, weights, {symbol: {asked: 0.0} for symbol in weights}, seen
            )

        policy = RebalancePolicy()
        return RebalanceInputs(
            slot, version, decide, policy, RiskLimits(max_gross=Decimal(1), max_weight=Decimal(1))
        )


def make_world() -> World:
    clock = SteppedClock(SLOT + timedelta(seconds=2))
    ledger, venue = MemoryLedger(clock), MemoryVenue(clock)
    ledger.open_account("test", "memory", "USDT")
    policy = ExecutionPolicy(
        poll_seconds=1,
        follow_timeout_seconds=5,
        visibility_delay_seconds=10,
        lease_ttl_seconds=60,
        lease_wait_seconds=0,
        senders=1,  # the venue and the clock of these tests are for one thread
        kill_switch_seconds=0,  # their time stands still while orders leave
    )
    control_store = MemoryControlStore(ledger)
    kill_switch = KillSwitch("test", control_store, clock=clock)
    session = AccountSession(
        account="test",
        exchange_name="memory",
        quote="USDT",
        exchange=venue,
        ledger=ledger,
        parent_orders=MemoryParentOrderStore(ledger),
        control_store=control_store,
        clock=clock,
        kill_switch=kill_switch,
        policy=policy,
        machine_clock=clock,
        pause=clock.sleep,
        runner=InlineRunner(),
        ids=CountedIds(),
    )
    return World(ledger, control_store, venue, clock, session)


@dataclass
class TwoVenueWorld:
    """An account at two venues, of which the first is cheaper, and one ledger for all its
    processes.
    """

    clock: SteppedClock
    ledger: MemoryLedger
    control_store: MemoryControlStore
    near: OneOfTwo
    far: OneOfTwo
    parent_orders: MemoryParentOrderStore

    def process(self) -> World:
        """Return a process that remembers nothing but what is in the ledger."""
        self.ledger.holder = ""
        both = SeveralVenues(
            {"near": self.near, "far": self.far},
            {"near": Decimal(1), "far": Decimal(10)},
            runner=InlineRunner(),
        )
        policy = ExecutionPolicy(
            poll_seconds=1,
            follow_timeout_seconds=5,
            visibility_delay_seconds=10,
            lease_wait_seconds=0,
            kill_switch_seconds=0,
        )
        ledger, control_store, clock = self.ledger, self.control_store, self.clock
        switch = KillSwitch("test", control_store, clock=clock)
        session = AccountSession(
            account="test",
            exchange_name="both",
            quote="USDT",
            exchange=both,
            ledger=ledger,
            parent_orders=self.parent_orders,
            control_store=control_store,
            clock=clock,
            kill_switch=switch,
            policy=policy,
            venues=both,
            machine_clock=clock,
            pause=clock.sleep,
            runner=InlineRunner(),
            ids=CountedIds(),
        )
        return World(ledger, control_store, self.near, clock, session)


def make_two_venue_world() -> TwoVenueWorld:
    clock = SteppedClock(SLOT + timedelta(seconds=2))
    ledger = MemoryLedger(clock)
    ledger.open_account("test", "both", "USDT")
    return TwoVenueWorld(
        clock,
        ledger,
        MemoryControlStore(ledger),
        OneOfTwo(clock),
        OneOfTwo(clock),
        MemoryParentOrderStore(ledger),
    )
