"""The script of a certification at a venue in memory, whose answers a test may change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from penstock.core.clock import SteppedClock
from penstock.core.errors import VenueUnavailableError
from penstock.core.orders import OrderReport, OrderRequest, OrderState, OrderType
from penstock.execution.certification.marked_orders import MARK, MarkedOrders
from penstock.execution.certification.script import CertifiedStep, LifeScript, StepResult
from penstock.execution.kill_switch import KillSwitch
from penstock.ports import RecordedAnswer
from penstock.testing.instruments import SLOT
from penstock.testing.memory_venue import OneOfTwo

SYMBOL = "ADA/USDT"


@dataclass
class AlarmClock(SteppedClock):
    """A stepped clock that calls each alarm once, when its second has come."""

    alarms: dict[int, Callable[[], object]] = field(default_factory=dict)

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        for second in [each for each in self.alarms if self.elapsed_seconds() >= each]:
            self.alarms.pop(second)()


@dataclass
class ThinVenue(OneOfTwo):
    """A venue where a limit order for more than is offered fills in part, and the rest works.

    `actions` are the orders and cancellations that it was asked for, by the numbers of the orders.
    `changes` are applied to what a method answers, once the venue has done what was asked.
    """

    actions: list[tuple[str, int]] = field(default_factory=list)
    changes: dict[str, Callable[[Any], Any]] = field(default_factory=dict)

    def _changed(self, method: str, answer: object) -> Any:
        return self.changes.get(method, lambda unchanged: unchanged)(answer)

    def submit(self, order: OrderRequest) -> OrderReport:
        self.actions.append(("submit", number_of(order.client_order_id)))
        answer: OrderReport = self._changed("submit", super().submit(order))
        return answer

    def _fill(self, order: OrderRequest, price: Decimal) -> OrderReport:
        works = order.type is OrderType.LIMIT and order.quantity > 1000
        self.fraction = Decimal("0.9") if works else Decimal(1)
        report = super()._fill(order, price)
        return replace(report, state=OrderState.OPEN) if works else report

    def cancel(self, client_order_id: str, symbol: str, venue_order_id: str = "") -> OrderReport:
        self.actions.append(("cancel", number_of(client_order_id)))
        answer: OrderReport = super().cancel(client_order_id, symbol, venue_order_id)
        return self._changed("cancel", answer)  # type: ignore[no-any-return]

    def open_orders(self) -> Sequence[OrderReport]:
        return self._changed("open_orders", super().open_orders())  # type: ignore[no-any-return]

    def quotes(self, symbols: Sequence[str]) -> Any:
        return self._changed("quotes", super().quotes(symbols))

    def fills(self, symbol: str, since: Any) -> Any:
        return self._changed("fills", super().fills(symbol, since))

    def find_order(self, client_order_id: str, symbol: str) -> OrderReport:
        answer: OrderReport = self._changed(
            "find_order", super().find_order(client_order_id, symbol)
        )
        return answer


@dataclass
class StepRecorder:
    """An AnswerRecorder that keeps the steps, and loses answers of the venue in memory.

    `at_end` is called as the end begins.
    """

    venue: ThinVenue
    begun: list[str] = field(default_factory=list)
    loses: bool = True
    at_end: Callable[[], object] = lambda: None

    def begin(self, step: str) -> None:
        self.begun.append(step)
        if step == "end":
            self.at_end()

    def lose_next_order(self) -> None:
        if not self.loses:
            return
        before = self.venue.after

        def lose(_: OrderRequest) -> None:
            self.venue.after = before
            before(_)
            raise VenueUnavailableError("no answer in 5 s")

        self.venue.after = lose

    def answers(self) -> list[RecordedAnswer]:
        return [RecordedAnswer(step, "GET", "/") for step in self.begun]


@dataclass
class Life:
    """A script at its venue. `heard` runs after each step."""

    clock: AlarmClock
    venue: ThinVenue
    recorder: StepRecorder
    script: LifeScript
    halt_file: Path
    heard: Callable[[CertifiedStep], None] = lambda _: None
    told: list[CertifiedStep] = field(default_factory=list)

    def hear(self, step: CertifiedStep) -> None:
        self.told.append(step)
        self.heard(step)

    def run(self) -> CertifiedStep:
        """Run the script and return its last step."""
        self.script.run()
        return self.script.steps[-1]

    @property
    def submitted(self) -> list[int]:
        """The numbers of the orders that the venue was sent."""
        return [number for action, number in self.venue.actions if action == "submit"]

    @property
    def working(self) -> list[int]:
        return [
            number_of(name)
            for name, report in self.venue.placed.items()
            if report.state is OrderState.OPEN
        ]

    @property
    def kept(self) -> Decimal:
        """What the account has of the base asset."""
        return self.venue.assets.get("ADA", Decimal(0))

    def ended_at(self, step: str, seen: str) -> None:
        """Run; the script must end at the step as different, with these words, and leave nothing
        that works.
        """
        last = self.run()
        assert (last.name, last.result) == (step, StepResult.DIFFERENT), self.script.steps
        assert seen in last.seen
        assert not self.script.is_as_expected
        assert not self.working


def number_of(name: str) -> int:
    return int(name.removeprefix(MARK), 16) if name.startswith(MARK) else -1


def name_of(number: int) -> str:
    return f"{MARK}{number:022x}"


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """A script with a patience of five seconds that was not run yet; its orders count from 1."""
    clock = AlarmClock(SLOT + timedelta(seconds=2))
    venue = ThinVenue(clock)
    halt_file, recorder = tmp_path / "HALT", StepRecorder(venue)
    orders = MarkedOrders(
        venue,
        SYMBOL,
        map(name_of, count(1)),
        clock,
        patience_seconds=5,
        poll_seconds=1,
        switch=KillSwitch("test", file=halt_file, clock=clock),
    )
    script = LifeScript(orders, recorder, Decimal(1000))
    made = Life(clock, venue, recorder, script, halt_file)
    script.tell = made.hear
    return made
