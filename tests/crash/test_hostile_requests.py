"""Malformed and hostile requests at a real practice exchange, over raw sockets. None is answered
with HTTP 500, none fills, cancels or books anything, and the server goes on serving in the memory
that it had.

A slice is part of the ordinary tests; `pytest -m soak tests/crash/test_hostile_requests.py -s`
sends 10,000. PENSTOCK_FUZZ_TRIALS and PENSTOCK_FUZZ_SEED change number and seed.
"""

import itertools
import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

import pytest

from penstock.practice.clock import stepped_clock
from penstock.practice.control import PracticeControl
from penstock.practice.limits import UNLIMITED
from penstock.practice.server import AccountSpec, PracticeServer, build_app
from penstock.simulation.fill_model import FillModel
from tests.crash.conftest import SLOT, candles
from tests.crash.hostile_requests import KEY, SECRET, TOKEN, Attack, HostileRequests

pytestmark = pytest.mark.slow

SLICE = 500
REQUESTS = int(os.environ.get("PENSTOCK_FUZZ_TRIALS", "10000"))
SEED = os.environ.get("PENSTOCK_FUZZ_SEED", "20261128")
#: The server may grow by so much, whatever is sent (MB).
GROWTH = 40


@pytest.fixture(scope="module")
def server() -> Iterator[PracticeServer]:
    account = AccountSpec(KEY, SECRET, {"USDT": "100000", "BTC": "2"})
    with PracticeServer(
        candles(),
        stepped_clock(SLOT),
        fill_model=FillModel(participation=None),
        accounts=(account,),
        limits=UNLIMITED,
        control_token=TOKEN,
    ) as running:
        yield running


@dataclass
class Answers:
    """What the server said to the attacks sent so far."""

    address: tuple[str, int]
    statuses: Counter[int] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    closed: int = 0
    """Attacks that the server answered by closing the connection."""
    wrong: list[str] = field(default_factory=list)
    _open: socket.socket | None = None
    _ended: bool = False

    def send(self, attack: Attack) -> None:
        """Send an attack and judge every answer."""
        connection = self._open or socket.create_connection(self.address, timeout=10)
        self._open, answers = None, 0
        try:
            connection.sendall(attack.data)
            if not attack.is_whole:
                connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as reader:
                while answers < attack.requests and self._judge(attack, reader):
                    answers += 1
        except TimeoutError:
            self.wrong.append(f"no answer: {attack.what[:300]}")
        except OSError:
            pass  # it ended the connection under a body that it does not read
        self.closed += answers == 0
        if answers == attack.requests and attack.is_whole and not self._ended:
            self._open = connection
        else:
            connection.close()

    def _judge(self, attack: Attack, reader: BufferedReader) -> bool:
        """Read one answer; return whether there was one."""
        line = reader.readline()
        if not line:
            return False
        status, headers = int(line.split()[1]), {}
        while header := reader.readline().strip():
            name, _, value = header.partition(b":")
            headers[name.lower()] = value.strip()
        length = int(headers.get(b"content-length", -1))
        self._ended = length < 0 or headers.get(b"connection") == b"close"
        body = reader.read(length)
        self.statuses[status] += 1
        if status >= 500 or (attack.is_refused and status < 400):
            self.wrong.append(f"{status} {body[:100]!r}: {attack.what[:300]}")
        if headers[b"content-type"].startswith(b"application/json") and status >= 400:
            self.codes[json.loads(body).get("code", 0)] += 1
        return True


def peak_mb(pid: int) -> float:
    """Return the most memory that a process has had so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def attack(server: PracticeServer, number: int) -> Answers:
    """Send so many attacks, print what came of them, and require that nothing did."""
    started = time.monotonic()
    assert server.pid is not None
    control = PracticeControl(server.url, token=TOKEN)
    requests = HostileRequests(build_app(server.config), SEED)
    order = requests.order(
        newClientOrderId="resting", type="LIMIT", price="1000", timeInForce="GTC"
    )
    host, port = server.url.removeprefix("http://").split(":")
    answers = Answers((host, int(port)))
    answers.send(order)
    control.clear_faults()
    journal, memory = control.journal(), peak_mb(server.pid)
    sent = 0
    for each in itertools.islice(requests, number):
        answers.send(each)
        sent += each.requests
    grown = peak_mb(server.pid) - memory
    changes = control.journal()[len(journal) :]
    print(
        f"\nhostile requests: {sent:,} in {number:,} attacks (seed {SEED}): "
        f"{len(answers.wrong)} answered wrongly, {len(changes)} changes, "
        f"{grown:.1f} MB more, {answers.closed:,} closed, "
        f"statuses {dict(sorted(answers.statuses.items()))}, "
        f"codes {dict(sorted(answers.codes.items()))}, {time.monotonic() - started:.0f} s"
    )
    assert answers.wrong == []
    assert changes == []
    assert grown < GROWTH
    return answers


def test_hostile_requests_change_nothing(server: PracticeServer) -> None:
    """Some attacks on all routes, and afterwards a right order fills as it did before."""
    attack(server, SLICE)
    requests, control = (
        HostileRequests(build_app(server.config), SEED),
        PracticeControl(server.url, token=TOKEN),
    )
    host, port = server.url.removeprefix("http://").split(":")
    Answers((host, int(port))).send(requests.order(newClientOrderId="after", type="MARKET"))
    trades = [entry["trade"] for entry in control.journal() if entry["kind"] == "trade"]
    assert [trade["quantity"] for trade in trades] == ["0.01"]


@pytest.mark.soak
def test_thousands_of_hostile_requests_change_nothing(server: PracticeServer) -> None:
    """The same at length."""
    attack(server, REQUESTS)
