"""A slot at a venue whose answers are changed, and what it leaves: unmodified ccxt, the real
adapter and execution, and stores in memory.

Time is stepped: nothing waits.
"""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.exchanges.order_expiry import refusal_lag
from penstock.core.clock import SteppedClock
from penstock.core.errors import PenstockError, UnexpectedError
from penstock.core.halts import TradingState
from penstock.core.orders import OrderEventKind, Side
from penstock.core.proposals import SeenBar
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.algorithms import Limit
from penstock.execution.lease import take_lease
from penstock.execution.orders.cancel import cancel_working
from penstock.execution.rebalance.run import RebalanceInputs, rebalance
from penstock.execution.reconciliation.reconcile import reconcile
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.risk.limits import LossLimit, RiskLimits
from penstock.testing.instruments import SLOT
from penstock.testing.world import World, make_world
from tests.contracts.exchanges.constructed_venue import fields_of
from tests.crash.answer_mutations import LOST, Strike, drawn
from tests.crash.binance_wire import BINANCE
from tests.crash.bybit_wire import BYBIT
from tests.crash.kraken_wire import KRAKEN
from tests.crash.okx_wire import OKX
from tests.crash.true_venue import PRICES, TrueOrder, TrueVenue, Working
from tests.crash.venue_wires import Call, Said, Wire, call_of

WIRES = {"binance": BINANCE, "bybit": BYBIT, "kraken": KRAKEN, "okx": OKX}
#: Half of the opening 10,000 is in AAA: 25 of 50 are sold, and 40 BBB are bought.
OPENING = {"USDT": Decimal(5000), "AAA": Decimal(50), "BBB": Decimal(0)}
WEIGHTS = {"AAA/USDT": 0.25, "BBB/USDT": 0.2}
EQUITY = Decimal(10_000)
#: The fees of all trades are less.
_FEES = Decimal(6)
_LIMITS = RiskLimits(
    max_gross=Decimal(1),
    max_weight=Decimal(1),
    daily_loss=LossLimit(limit=Decimal("0.02")),
    drawdown=LossLimit(limit=Decimal("0.02")),
)
_MINUTES = timedelta(minutes=15)
#: An order that is worked sends what is left of it two more times.
WORKED = Limit(offset_bps=Decimal(2), max_children=3, reprice_seconds=20)
#: A new order is shown after this time: later than a refusal is asked about, and before "no such
#: order" is believed.
_HIDES = timedelta(seconds=7)
#: An order that is not ours. It rests at the venue when all orders are cancelled.
_FOREIGN = "f0e1"
#: What must not be.
FAULTS = (
    "called REJECTED that the venue has",
    "sent twice",
    "raw exceptions",
    "equity moves",
    "called cancelled that works",
    "wrong books",
)


class TrueAnswers(HTTPAdapter):
    """Answers as the venue does, with strikes on the way."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self.wire = wire
        self.venue: TrueVenue = None  # type: ignore[assignment]  # each trial has its own
        self.strikes: list[Strike] = []
        self.answered: Counter[Call] = Counter()

    def send(self, request, **options):  # type: ignore[no-untyped-def,override]  # HTTPAdapter's own signature is untyped
        asked = request.method, urlsplit(request.url).path
        if asked not in self.wire.answers:
            raise AssertionError(f"no answer to {asked}")
        fields = fields_of(request)
        call = call_of(self.wire, *asked, fields)

        def ask() -> Said:
            return self.wire.answers[asked][1](self.venue, fields)

        strike = next((each for each in self.strikes if each.call is call), None)
        if call is not None:
            self.answered[call] += 1
        if strike is None:
            status, body = ask()
            text = json_of(body)
        else:
            status, text = strike.of(self.wire, ask)
        if status == LOST:
            raise requests.exceptions.ReadTimeout("no answer in 10 s")
        response = requests.Response()
        response.status_code, response._content = status, text.encode()
        response.url, response.request = request.url, request
        return response


def json_of(body: Any) -> str:
    return requests.compat.json.dumps(body)  # type: ignore[no-any-return,attr-defined]


@dataclass(frozen=True)
class Scene:
    """What the venue does with orders, and how they are worked."""

    working: Working
    """What it does with an order at once."""
    worked: bool
    """Whether what is left of an order is sent again, in the style WORKED."""
    hides: bool
    """Whether new orders are not shown for a while."""


@dataclass
class Family:
    """One venue family with its account. Making ccxt's client costs more than a slot."""

    name: str
    clock: SteppedClock = field(default_factory=lambda: SteppedClock(SLOT))
    exchange: CcxtExchange = field(init=False)
    answers: TrueAnswers = field(init=False)
    expected: dict[Scene, Counter[Call]] = field(init=False, default_factory=dict)
    """The answers of an untroubled slot, by scene."""

    def __post_init__(self) -> None:
        self.exchange = CcxtExchange(
            self.name,
            "key",
            "c2VjcmV0",
            password="phrase",
            live=True,
            rate_limit_ms=0,
            read_attempts=2,
            clock=self.clock,
        )
        self.answers = TrueAnswers(WIRES[self.name])
        self.exchange.session.mount("https://", self.answers)
        self.exchange.session.trust_env = False  # looking for proxies takes half of the time
        client = self.exchange.client
        if self.name in ("bybit", "okx"):  # they list other kinds of markets with other requests
            client.options["fetchMarkets"] = {"types": ["spot"]}
        client.throttle = lambda cost=None: None  # each trial begins at the same time again
        client.milliseconds = lambda: round(self.clock.now().timestamp() * 1000)

    def trial(self, seed: str) -> "Trial":
        """Return the trial of a seed, not run yet."""
        chance = random.Random(f"{self.name} {seed}")
        scene = Scene(chance.choice(list(Working)), chance.random() < 0.5, chance.random() < 0.3)
        if scene not in self.expected:
            slot = Trial(self, scene, [])
            slot.run()
            assert not slot.faults(), (scene, slot.faults())
            self.expected[scene] = slot.first_run
        strikes = drawn(chance, self.answers.wire, self.expected[scene], scene.hides)
        return Trial(self, scene, strikes)


@dataclass
class Trial:
    """One account: a slot under strikes, then the same and the next one with true answers."""

    family: Family
    scene: Scene
    strikes: list[Strike]
    world: World = field(init=False)
    venue: TrueVenue = field(init=False)
    raised: list[Exception] = field(default_factory=list)
    first_run: Counter[Call] = field(default_factory=Counter)
    """How many answers there were under strikes."""
    still_works: str = ""
    """What works although all orders were called cancelled."""

    def __post_init__(self) -> None:
        family, world = self.family, make_world()
        family.clock.at = SLOT + timedelta(seconds=2)
        session = replace(
            world.session,
            exchange=family.exchange,
            clock=family.clock,
            machine_clock=family.clock,
            pause=family.clock.sleep,
            style=WORKED if self.scene.worked else world.session.style,
            kill_switch=replace(world.session.kill_switch, clock=family.clock),
            policy=world.session.policy.model_copy(
                update={"refusal_lag_seconds": refusal_lag([family.name]), "poll_seconds": 5.0}
            ),
        )
        world.ledger.clock = family.clock
        self.world = replace(world, session=session, clock=family.clock)
        self.venue = TrueVenue(self.scene.working, family.clock, dict(OPENING))
        self.venue.buys_cost_base = family.name in ("bybit", "okx")
        family.answers.venue, family.answers.strikes = self.venue, []
        self._open()
        self.venue.hides = _HIDES if self.scene.hides else timedelta(0)
        family.answers.strikes = self.strikes
        family.answers.answered.clear()

    def _open(self) -> None:
        session = self.world.session
        keeper = take_lease(
            session.ledger, session.account, 60, 0, clock=self.family.clock, ids=session.ids
        )
        assert keeper is not None
        reconcile(session, keeper, session.exchange.instruments())
        # The balances of an account that was never rebalanced are taken over as they are.
        before = SLOT - _MINUTES
        begun = session.ledger.start_rebalance(keeper.lease, before, "trend/1")
        session.ledger.end_rebalance(keeper.lease, begun.id, RebalanceStatus.DONE, "opened")
        keeper.release()

    def run(self) -> None:
        for _ in range(3):
            if self._slot(SLOT):
                break
        self.first_run = Counter(self.family.answers.answered)
        self._cancel_all()
        self.family.answers.strikes = []
        for slot in (SLOT, SLOT + _MINUTES, SLOT + 2 * _MINUTES):
            if self._is_over():
                return
            self.family.clock.at = max(self.family.clock.at, slot + timedelta(seconds=2))
            self._slot(slot)

    def _cancel_all(self) -> None:
        """Cancel every working order, as an operator does. Another one than ours works too."""
        number, before = len(self.venue.orders) + 1, SLOT - _MINUTES
        foreign = TrueOrder(number, _FOREIGN, "AAA", Side.BUY, Decimal(1), before)
        self.venue.orders.append(foreign)
        try:
            done = cancel_working(self.world.session)
        except Exception as error:  # noqa: BLE001  # what is raised is what is looked at
            self.raised.append(error)
        else:
            lies = (Call.OPEN, Call.CANCEL)
            if foreign.is_open and not done.left and not self._was_lied_to(lies):
                self.still_works = f"{_FOREIGN} works: {done}"
        self.venue.orders.remove(foreign)

    def _was_lied_to(self, calls: tuple[Call, ...]) -> bool:
        return any(strike.is_believable and strike.call in calls for strike in self.strikes)

    def _is_over(self) -> bool:
        """Return whether nothing is left to be found out: more slots would only take time."""
        store, account = self.world.control_store, self.world.session.account
        return not (self.venue.open_orders or self._lost() or store.open_breaks(account))

    def _slot(self, slot: datetime) -> bool:
        """Run the slot; return whether it ended without an error."""
        seen = {symbol: SeenBar(slot, float(PRICES[symbol[:3]])) for symbol in WEIGHTS}

        def decide(version: str) -> PortfolioTargets:
            return PortfolioTargets(version, WEIGHTS, {}, seen)

        self.family.exchange._reports.client_ids.clear()  # each run is a process of its own
        try:
            rebalance(
                self.world.session,
                RebalanceInputs(slot, "trend/1", decide, RebalancePolicy(), _LIMITS),
            )
        except Exception as error:  # noqa: BLE001  # what is raised is what is looked at
            self.raised.append(error)
            return False
        return True

    def faults(self) -> dict[str, str]:
        """Return what must not be, by the kind of fault."""
        found = (
            self._wrongly_rejected(),
            self._sent_twice(),
            self._raw(),
            self._equity_moves(),
            self.still_works,
            self._lost(),
        )
        return {kind: what for kind, what in zip(FAULTS, found, strict=True) if what}

    def _raw(self) -> str:
        raw = [
            error
            for error in self.raised
            if not isinstance(error, PenstockError) or isinstance(error, UnexpectedError)
        ]
        return "; ".join(f"{type(error).__name__}: {error}" for error in raw)

    def _wrongly_rejected(self) -> str:
        """Return what was ever called rejected, for the slot's end may heal it."""
        return "; ".join(
            name
            for name, kind in self.world.ledger.events
            if kind is OrderEventKind.REJECT and self.venue.named(name)
        )

    def _sent_twice(self) -> str:
        names = Counter(order.name for order in self.venue.orders)
        twice = [name for name, count in names.items() if count > 1]
        held = self.venue.balances
        past = [
            f"{asset} is {held[asset]}"
            for asset, wrong in (("AAA", held["AAA"] < 24), ("BBB", held["BBB"] > 41))
            if wrong
        ]
        ways = {("AAA", Side.SELL), ("BBB", Side.BUY)}
        others = [
            f"{order.side} {order.quantity} {order.base}"
            for order in self.venue.orders
            if (order.base, order.side) not in ways
        ]
        return "; ".join([*twice, *past, *others])

    def _equity_moves(self) -> str:
        store = self.world.control_store
        moved = [
            f"{equity} at {at}"
            for at, equity in store.equity.items()
            if not EQUITY - _FEES <= equity <= EQUITY
        ]
        state = store.trading_state(self.world.session.account)
        halted = [] if state.state is TradingState.ACTIVE else [f"{state.state}: {state.reason}"]
        return "; ".join([*moved, *halted])

    def _lost(self) -> str:
        """Return what is wrong with the books once the venue has told the truth for two slots."""
        ledger, account = self.world.ledger, self.world.session.account
        orders = ledger.orders(account, unfinished_only=True)
        found = [f"{order.request.client_order_id} is {order.state}" for order in orders]
        found += [f"{order.name} works at the venue" for order in self.venue.open_orders]
        booked = Counter((fill.client_order_id, fill.quantity) for fill in ledger.fills(account))
        true = Counter((trade.order.name, trade.quantity) for trade in self.venue.trades)
        if booked != true:
            found.append(f"booked {booked - true} too much, {true - booked} too little")
        shown: Mapping[str, Decimal] = ledger.balances(account)
        differing = {a for a, held in self.venue.balances.items() if shown.get(a, 0) != held}
        return "; ".join([*found, *(f"{a} is {shown.get(a)}" for a in sorted(differing))])
