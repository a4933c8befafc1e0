"""The script that certifies a venue, on the practice exchange: what it shows, what it leaves, and
what it writes down.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest
from requests.adapters import HTTPAdapter

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.exchanges.recorder import AnswerRecord
from penstock.core.machine import SYSTEM_CLOCK
from penstock.core.orders import OrderRequest, OrderType, Side
from penstock.execution.certification.marked_orders import MARK, HaltedError, MarkedOrders
from penstock.execution.certification.recording import (
    VenueRecording,
    read_recording,
    write_recording,
)
from penstock.execution.certification.script import CertifiedStep, LifeScript, StepResult
from penstock.execution.kill_switch import KillSwitch
from penstock.practice.control import PracticeControl
from penstock.practice.faults import Fault, FaultKind
from penstock.testing.recorded_venue import replay
from tests.certified_steps import STEPS
from tests.contracts.exchanges.constructed_venue import account_at

ORDERS = "/api/v3/order"
DAY = timedelta(days=1)


@dataclass
class Life:
    """A script at an account of its own, with the account."""

    exchange: CcxtExchange
    recorder: AnswerRecord
    script: LifeScript
    names: list[str] = field(default_factory=list)

    def left_open(self) -> list[str]:
        """Return what the account holds or has open that it did not before."""
        held = self.exchange.balances().get("AAA", Decimal(0))
        opened = [report.client_order_id for report in self.exchange.open_orders()]
        return [*opened, *([f"{held} AAA"] if held >= Decimal("0.001") else [])]

    def recording(self) -> VenueRecording:
        """Return what is written down of it."""
        script = self.script
        return VenueRecording(
            venue="binance",
            network="practice",
            symbol="AAA/USDT",
            most=script.most,
            patience_seconds=script.orders.patience_seconds,
            poll_seconds=script.orders.poll_seconds,
            at=SYSTEM_CLOCK.now(),
            ccxt="",
            penstock="",
            steps=tuple(script.steps),
            left=script.left,
            names=tuple(self.names),
            answers=tuple(self.recorder.answers()),
        )


_NUMBERS = count(1)


@pytest.fixture
def live(connect: Callable[..., CcxtExchange], control: PracticeControl) -> Callable[..., Life]:
    """Makes a script at a new account, not run yet."""

    def make(
        most: str = "200",
        tell: Callable[[CertifiedStep], None] = lambda step: None,
        switch: KillSwitch | None = None,
    ) -> Life:
        exchange = connect(balances={"USDT": Decimal(2_000_000)})
        names: list[str] = []

        def named() -> Iterator[str]:
            while True:
                names.append(f"{MARK}{next(_NUMBERS):022x}")
                yield names[-1]

        orders = MarkedOrders(
            exchange,
            "AAA/USDT",
            named(),
            SYSTEM_CLOCK,
            patience_seconds=0.5,
            poll_seconds=0.05,
            switch=switch,
        )
        secrets = (exchange.client.apiKey, exchange.client.secret)
        recorder = AnswerRecord(exchange.session, secrets, ("AAA", "USDT"))
        script = LifeScript(orders, recorder, Decimal(most), tell)
        return Life(exchange, recorder, script, names)

    return make


def test_life_of_orders_is_shown_recorded_and_replayed(
    live: Callable[..., Life], control: PracticeControl, tmp_path: Path
) -> None:
    """Every step is as expected, nothing is left, and unmodified ccxt says the same again over the
    file.
    """

    def next_day(step: CertifiedStep) -> None:
        if step.name in ("fill in part", "fill"):  # a day's volume is used up
            control.step(seconds=DAY)

    life = live("1000000", next_day)
    life.script.run()
    assert [(step.name, step.result) for step in life.script.steps] == [
        (name, StepResult.AS_EXPECTED) for name in STEPS
    ], life.script.steps
    assert life.script.is_as_expected
    write_recording(tmp_path / "life.json", life.recording())
    assert not life.left_open()
    recording = read_recording(tmp_path / "life.json")
    script, answers = replay(recording)
    assert script.steps == list(recording.steps)
    assert not script.left
    assert not answers.unasked


def test_part_that_would_cost_too_much_is_not_shown(live: Callable[..., Life]) -> None:
    """300 are offered at the ask, which 200 USDT cannot pay: that is said, and the rest goes on."""
    life = live()
    life.script.run()
    results = {step.name: step.result for step in life.script.steps}
    assert results.pop("fill in part") is StepResult.NOT_SHOWN
    assert set(results.values()) == {StepResult.AS_EXPECTED}
    assert life.script.is_as_expected
    assert not life.left_open()


@pytest.mark.parametrize(
    ("last", "words", "left", "orders"),
    [
        ("read the account", "halted", "", 0),
        ("place", "halted", "", 1),
        ("fill", "reduce_only", "", 4),
        ("fill", "halted", "AAA that it bought: the kill switch is set: venue is odd", 4),
    ],
)
def test_halt_ends_the_script_before_its_next_order(
    live: Callable[..., Life],
    tmp_path: Path,
    last: str,
    words: str,
    left: str,
    orders: int,
) -> None:
    """The kill switch file appears after a step. No further order is sent, but for the sell of what
    was bought where the state lets through what reduces. What works is cancelled.
    """
    file = tmp_path / "HALT"

    def halt(step: CertifiedStep) -> None:
        if step.name == last:
            file.write_text(f"{words} venue is odd")

    life = live("200", halt, KillSwitch("AAA", file=file, clock=SYSTEM_CLOCK))
    sends_sell = words == "reduce_only"
    if sends_sell:
        life.script.run()
    else:
        with pytest.raises(HaltedError, match="the kill switch is set: venue is odd"):
            life.script.run()
    assert left in "; ".join(life.script.left)
    assert bool(left) == bool(life.script.left)
    assert len(life.script.orders.sent) == orders + sends_sell
    assert not life.exchange.open_orders()


class Interrupting(HTTPAdapter):
    """Interrupts the nth request that is no question: before the venue has it, after it, or so that
    it arrives a moment later.
    """

    def __init__(self, nth: int, when: str) -> None:
        super().__init__()
        self.nth, self.when, self.seen = nth, when, 0
        self.late: threading.Timer | None = None

    def send(self, request, **options):  # type: ignore[no-untyped-def,override]  # HTTPAdapter's own signature is untyped
        self.seen += request.method != "GET"
        if request.method == "GET" or self.seen != self.nth:
            return super().send(request, **options)
        if self.when == "after":
            super().send(request, **options)
        elif self.when == "late":
            self.late = threading.Timer(0.2, super().send, (request,), options)
            self.late.start()
        raise KeyboardInterrupt


@pytest.mark.parametrize("when", ["before", "after", "late"])
@pytest.mark.parametrize("nth", [1, 2, 5, 7, 8])
def test_interrupted_life_leaves_nothing_open(
    live: Callable[..., Life], nth: int, when: str
) -> None:
    """Interrupted at the first order, its cancellation, the lost one, the buy or the sale, whether
    or not the venue has it: no order works, and nothing that was bought is kept.
    """
    life = live()
    life.script.orders.patience_seconds = 5.0 if when == "late" else 0.5
    interrupting = Interrupting(nth, when)
    life.exchange.session.mount("http://", interrupting)
    with pytest.raises(KeyboardInterrupt):
        life.script.run()
    if interrupting.late is not None:
        interrupting.late.join()
    assert not life.script.left
    assert not life.left_open()
    assert not life.script.is_as_expected


def test_venue_that_answers_otherwise_ends_the_script(
    live: Callable[..., Life], control: PracticeControl
) -> None:
    """It answers with another order than ours: the step differs, nothing more is tried, and the
    order that it took all the same is cancelled.
    """
    life = live()
    body = '{"symbol": "AAAUSDT", "orderId": 7, "clientOrderId": "other", "status": "NEW"}'
    control.arm_next(FaultKind.OTHER_ANSWER, "POST", ORDERS, body=body)
    life.script.run()
    assert (life.script.steps[-1].name, life.script.steps[-1].result) == (
        "place",
        StepResult.DIFFERENT,
    )
    assert not life.script.is_as_expected
    assert not life.left_open()


def test_what_cannot_be_ended_is_said(live: Callable[..., Life], control: PracticeControl) -> None:
    """No cancellation is answered: the order is named as left."""
    life = live()
    control.arm(Fault(kind=FaultKind.ERROR_BEFORE, method="DELETE", path=ORDERS))
    life.script.run()
    assert life.script.left
    assert life.names[0] in life.script.left[0]
    assert not life.script.is_as_expected


def test_cancellation_that_fails_at_the_end_is_asked_for_again(
    live: Callable[..., Life], control: PracticeControl
) -> None:
    """Three in a row get no answer: the order is cancelled all the same, and nothing is said to be
    left.
    """
    life = live()
    control.arm(Fault(kind=FaultKind.ERROR_BEFORE, method="DELETE", path=ORDERS, times=3))
    life.script.run()
    assert life.script.steps[-1].result is StepResult.DIFFERENT
    assert not life.left_open()
    assert not life.script.left


def test_orders_stay_below_what_they_may_cost(
    live: Callable[..., Life], control: PracticeControl
) -> None:
    """Where the venue's minimum is more than that, nothing is sent."""
    life, before = live("5"), control.stats()["orders"]
    life.script.run()
    assert [step.result for step in life.script.steps] == [StepResult.DIFFERENT]
    assert "5 is the most that is allowed" in life.script.steps[0].seen
    assert control.stats()["orders"] == before


def test_order_that_an_earlier_run_left_is_cancelled(live: Callable[..., Life]) -> None:
    """A run that was killed left one: the next run knows it by its name. Others stay."""
    life = live()
    for name in (f"{MARK}{'f' * 22}", "by-hand"):
        order = OrderRequest(name, "AAA/USDT", Side.BUY, OrderType.LIMIT, Decimal(1), Decimal(50))
        life.exchange.submit(order)
    life.script.run()
    assert life.left_open() == ["by-hand"]


def test_file_has_no_secrets_and_only_the_symbol() -> None:
    """Keys, signatures and account ids are nowhere in what is recorded; long lists keep the rows of
    the symbol and its assets.
    """
    key, secret, owner = "AKexample7Q", "c2VjcmV0LWV4YW1wbGU=", 354_937_868
    rows = [
        {"symbol": f"{base}USDT", "baseAsset": base, "quoteAsset": "USDT", "filters": []}
        for base in ("AAA", *(f"B{n}" for n in range(30)))
    ]

    def answer(method: str, path: str, fields: object) -> tuple[int, object]:
        account = {
            "uid": owner,
            "userId": owner,
            "apiKey": key,
            "note": "mine",
            "ips": ["10.0.0.7"],
        }
        return 200, {"balances": [], "symbols": rows, "account": account, "said": f"hello {key}"}

    exchange, _ = account_at("binance", answer)
    exchange.client.apiKey, exchange.client.secret = key, secret
    recorder = AnswerRecord(exchange.session, (key, secret, ""), ("AAA", "USDT"))
    exchange.balances()
    (found,) = recorder.answers()
    text = f"{found}"
    for hidden in (key, secret, str(owner), "mine", "10.0.0.7", "signature", "timestamp"):
        assert hidden not in text
    assert '"symbol":"AAAUSDT"' in found.body
    assert "B7" not in found.body
    assert found.path == "/api/v3/account"


def test_long_lists_keep_what_kraken_calls_the_symbol() -> None:
    """BTC/USD is XXBTZUSD there."""
    pairs = {
        f"{base}Z{quote}": {"altname": f"{base}{quote}", "wsname": f"{base}/{quote}"}
        for base in ("XXBT", *(f"B{n}" for n in range(30)))
        for quote in ("USD", "EUR")
    }
    exchange, _ = account_at("kraken", lambda *_: (200, {"error": [], "result": pairs}))
    recorder = AnswerRecord(exchange.session, (), ("BTC", "USD"))
    exchange.client.publicGetAssetPairs()
    (found,) = recorder.answers()
    assert "XXBTZUSD" in found.body
    assert "XXBTZEUR" not in found.body
    assert "B7" not in found.body


RECORDINGS = sorted(Path(__file__).with_name("recordings").glob("*.json"))


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_recorded_venue_is_understood_as_when_it_was_recorded(path: Path) -> None:
    """Unmodified ccxt over a venue's own answers sees the same steps. A file that `penstock venue
    certify` has written becomes a test in this folder.
    """
    recording = read_recording(path)
    script, _ = replay(recording)
    assert script.steps == list(recording.steps)
    assert script.left == recording.left


def test_recording_of_the_practice_exchange_is_here() -> None:
    """So that the test above is of something."""
    assert "practice-binance" in {path.stem for path in RECORDINGS}
