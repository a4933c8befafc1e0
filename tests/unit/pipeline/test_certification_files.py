"""What `certify_venue` refuses before anything is sent, and what it writes however it ends."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from penstock.adapters.exchanges.http_adapter import VenueAdapter
from penstock.core.actors import Actor, Channel
from penstock.core.errors import ConfigError, RealNetworkError
from penstock.core.ids import CountedIds
from penstock.core.orders import OrderRequest
from penstock.execution.certification.marked_orders import MARK, HaltedError
from penstock.execution.certification.recording import VenueRecording, read_recording
from penstock.execution.certification.script import CertifiedStep, StepResult
from penstock.pipeline import certify
from penstock.pipeline.certify import Certification, CertifyRequest, certify_venue
from penstock.settings import Process, Settings
from penstock.testing.instruments import SLOT
from penstock.wiring import RecordedAccount
from tests.certified_steps import STEPS
from tests.unit.execution.certification.conftest import (
    SYMBOL,
    AlarmClock,
    StepRecorder,
    ThinVenue,
)

ROOT = Path(__file__).resolve().parents[3]
ACTOR = Actor("tester", Channel.CLI)
KEYS = {
    "BINANCE_TESTNET_KEY": "AKexample7QAKexample7Q",
    "BINANCE_TESTNET_SECRET": "c2VjcmV0LWV4YW1wbGU=",
}


class Place:
    """An account in memory that is certified, with a home folder of its own."""

    def __init__(self, home: Path) -> None:
        self.home, self.record = home, home / "kept" / "record.json"
        self.venue = ThinVenue(AlarmClock(SLOT))

    def account(self, *_: object) -> RecordedAccount:
        recorder = StepRecorder(self.venue)
        return RecordedAccount(self.venue, recorder, self.venue.clock, CountedIds())

    def settings(self, env: str, variables: Mapping[str, str] | None = None) -> Settings:
        return Settings(Process(home=self.home, configs=ROOT / "configs", env=env), variables)

    def certify(
        self,
        env: str = "practice",
        tell: Callable[[CertifiedStep], None] = lambda _: None,
        **request: Any,
    ) -> Certification:
        asked = CertifyRequest("daily", SYMBOL, Decimal(1000), self.record, patience_seconds=5)
        return certify_venue(self.settings(env, KEYS), ACTOR, replace(asked, **request), tell)

    def recording(self) -> VenueRecording:
        return read_recording(self.record)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path)
    monkeypatch.setattr(certify, "recorded_account", made.account)
    return made


def test_file_has_all_that_was_seen(place: Place) -> None:
    """The names stand in the order of their use and begin with the mark; the folder is made."""
    told: list[CertifiedStep] = []
    done = place.certify(tell=told.append)
    recording = place.recording()
    assert done.is_as_expected
    assert [step.name for step in done.steps] == list(STEPS)
    assert tuple(told) == done.steps == recording.steps
    assert [answer.step for answer in recording.answers] == [*STEPS, "end"]
    assert recording.names == tuple(f"{MARK}{n:022x}" for n in range(1, 8))
    assert (recording.venue, recording.network, recording.most) == (
        "binance",
        "practice",
        Decimal(1000),
    )
    assert (recording.at, recording.left) == (SLOT, ())
    assert done.summary() == (
        "binance (practice network) answered as expected: 14 steps, "
        f"15 answers in {place.record}; nothing is left open"
    )


def test_file_is_named_after_the_venue_and_its_network(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.home)
    done = place.certify("testnet", record=None)
    assert (done.record, done.network) == (Path("certified-binance-test.json"), "test")
    assert read_recording(place.home / done.record).network == "test"


def test_interrupted_run_writes_how_far_it_came(place: Place) -> None:
    """It is not certified, and nothing is left."""

    def interrupt(step: CertifiedStep) -> None:
        if step.name == "fill":
            raise KeyboardInterrupt

    done = place.certify(tell=interrupt)
    assert (done.is_interrupted, done.is_as_expected) == (True, False)
    assert [step.name for step in place.recording().steps] == list(STEPS[:-1])
    assert "is not certified: 13 steps" in done.summary()
    assert done.summary().endswith("; it was interrupted; nothing is left open")
    assert place.venue.open_orders() == []


def test_interruption_after_the_last_step_is_not_certified(place: Place) -> None:
    """Every step was as expected, and still somebody stopped it."""

    def interrupt(step: CertifiedStep) -> None:
        if step.name == STEPS[-1]:
            raise KeyboardInterrupt

    done = place.certify(tell=interrupt)
    assert {step.result for step in done.steps} == {StepResult.AS_EXPECTED}
    assert not done.is_as_expected


def test_halt_in_the_middle_is_said_and_written(place: Place) -> None:
    """What was bought is left, because no order may leave."""

    def halt(order: OrderRequest) -> None:
        if len(place.venue.submitted) == 4:  # the fifth order buys
            (place.home / "HALT").write_text("halted venue is odd")

    place.venue.before = halt
    done = place.certify()
    assert "the kill switch is set: venue is odd" in done.halt
    assert done.is_as_expected is done.is_interrupted is False
    assert len(done.left) == 1
    assert "ADA that it bought: the kill switch is set" in done.left[0]
    assert place.recording().left == done.left
    assert f"; {done.halt}; left: {done.left[0]}" in done.summary()


def test_error_of_ours_still_writes_the_file(place: Place) -> None:
    """What the venue answered until then is what one needs to find it."""

    def fail(step: CertifiedStep) -> None:
        if step.name == "list":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        place.certify(tell=fail)
    assert [step.name for step in place.recording().steps] == list(STEPS[:5])
    assert place.venue.open_orders() == []


def test_halted_account_is_not_asked_for_anything(place: Place) -> None:
    """Also where the switch lets through what reduces: the script begins with a buy."""
    (place.home / "HALT").write_text("reduce_only venue is odd")
    with pytest.raises(HaltedError, match="the kill switch is set: venue is odd"):
        place.certify()
    assert place.venue.actions == []
    assert not place.record.exists()


@pytest.mark.parametrize(
    ("env", "request_", "error", "words"),
    [
        ("paper", {}, ConfigError, "trades on paper: there is no venue to certify"),
        ("practice", {"venue": "kraken"}, ConfigError, "is at binance, not at 'kraken'"),
        ("practice", {"most": Decimal(0)}, ConfigError, "more than zero, not 0"),
        ("practice", {"most": Decimal("Infinity")}, ConfigError, "more than zero, not Infinity"),
        ("practice", {"most": Decimal("NaN")}, ConfigError, "more than zero, not NaN"),
        ("real", {}, RealNetworkError, "orders there cost real money"),
        ("real", {"real_network": True}, ConfigError, "it needs 'live: true'"),
    ],
)
def test_refused_request_sends_and_writes_nothing(
    place: Place, env: str, request_: Mapping[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        place.certify(env, **request_)
    assert place.venue.actions == []
    assert not place.record.exists()


@pytest.mark.parametrize(
    ("venue", "words"),
    [("", "is at bybit, okx: name one of them"), ("binance", "is at bybit, okx, not at 'binance'")],
)
def test_account_at_several_venues_must_say_which(place: Place, venue: str, words: str) -> None:
    configs = Path(shutil.copytree(ROOT / "configs", place.home / "configs"))
    file = configs / "environments.yaml"
    environments = yaml.safe_load(file.read_text())
    account = environments["testnet"]["accounts"]["daily"]
    del account["api_key_env"], account["secret_env"]
    account["venues"] = {
        name: {"ccxt_id": name, "sandbox": True, "api_key_env": name, "secret_env": name}
        for name in ("bybit", "okx")
    }
    file.write_text(yaml.safe_dump(environments))
    settings = Settings(Process(home=place.home, configs=configs, env="testnet"), KEYS)
    request = CertifyRequest("daily", SYMBOL, Decimal(1000), place.record, venue)
    with pytest.raises(ConfigError, match=words):
        certify_venue(settings, ACTOR, request)
    assert certify_venue(settings, ACTOR, replace(request, venue="okx")).venue == "okx"


def test_keys_are_not_in_the_file_of_a_venue_that_repeats_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unmodified ccxt over a refusal that has the key and the whole address in it."""
    asked: list[str] = []

    def refuse(_: VenueAdapter, request: requests.PreparedRequest, **options: object) -> Any:
        asked.append(f"{request.url} {request.headers} {request.body!r}")
        response = requests.Response()
        response.status_code = 401
        key, secret = KEYS.values()
        response._content = f'{{"code": -2015, "msg": "{key} {secret} {request.url}"}}'.encode()
        response.url, response.request = str(request.url), request
        return response

    monkeypatch.setattr(VenueAdapter, "send", refuse)
    place = Place(tmp_path)
    done = place.certify("testnet")
    assert asked
    assert [step.result for step in done.steps] == [StepResult.DIFFERENT]
    assert done.answers == len(asked)
    text = place.record.read_text() + done.summary()
    assert not any(value in text for value in KEYS.values())
    assert "(redacted)" in text
