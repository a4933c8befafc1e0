"""A venue that answers as it was recorded: unmodified ccxt and our adapter over a file."""

import itertools
from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.core.clock import SteppedClock
from penstock.execution.certification.marked_orders import MarkedOrders
from penstock.execution.certification.recording import VenueRecording
from penstock.execution.certification.script import LifeScript
from penstock.ports import RecordedAnswer


class RecordedAnswers(HTTPAdapter):
    """Gives the recorded answers to each method and path, in their order and at their times.

    A question that is asked more often than it was recorded gets its last answer again.
    """

    def __init__(self, recording: VenueRecording, clock: SteppedClock) -> None:
        super().__init__()
        self._last: dict[tuple[str, str], RecordedAnswer] = {}
        self._clock, self._begun = clock, recording.at
        self._left: dict[tuple[str, str], deque[RecordedAnswer]] = defaultdict(deque)
        for answer in recording.answers:
            self._left[answer.method, answer.path].append(answer)

    @property
    def unasked(self) -> list[RecordedAnswer]:
        """The answers that nobody has asked for."""
        return list(itertools.chain(*self._left.values()))

    def send(self, request, **options):  # type: ignore[no-untyped-def,override]  # HTTPAdapter's own signature is untyped
        asked = request.method, urlsplit(request.url).path
        if self._left[asked]:
            answer = self._left[asked].popleft()
            self._last[asked] = answer
        elif request.method == "GET" and asked in self._last:
            answer = self._last[asked]
        else:
            raise AssertionError(f"no recorded answer is left to {' '.join(asked)}")
        at = self._begun + timedelta(seconds=answer.after_seconds)
        self._clock.at = max(self._clock.at, at)
        if answer.is_lost or answer.status is None:
            raise requests.exceptions.ReadTimeout("no answer, as recorded")
        response = requests.Response()
        response.status_code = answer.status
        response._content = answer.body.encode()
        response.url, response.request = request.url, request
        return response


@dataclass
class _NoRecorder:
    """Stands in for the recorder: what was lost is lost again by the recording itself."""

    steps: list[str] = field(default_factory=list)

    def begin(self, step: str) -> None:
        self.steps.append(step)

    def lose_next_order(self) -> None:
        """The recording says which answer was lost."""

    def answers(self) -> list[RecordedAnswer]:
        return []


def replay(recording: VenueRecording) -> tuple[LifeScript, RecordedAnswers]:
    """Put the script's questions to the recorded answers; return what it saw, and the answers."""
    clock = SteppedClock(recording.at)
    exchange = CcxtExchange(
        recording.venue,
        "key",
        "c2VjcmV0",
        password="phrase",
        live=recording.network == "real",
        base_url="http://127.0.0.1:9" if recording.network == "practice" else None,
        rate_limit_ms=0,
        clock=clock,
    )
    answers = RecordedAnswers(recording, clock)
    for scheme in ("https://", "http://"):
        exchange.session.mount(scheme, answers)
    client: Any = exchange.client
    client.milliseconds = lambda: round(clock.now().timestamp() * 1000)
    orders = MarkedOrders(
        exchange,
        recording.symbol,
        iter(recording.names),
        clock,
        recording.patience_seconds,
        recording.poll_seconds,
    )
    script = LifeScript(orders, _NoRecorder(), recording.most)
    script.run()
    return script, answers
