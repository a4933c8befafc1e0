"""`make clients`: foreign clients trade on one practice exchange, and their books are compared.

Each client is unmodified, has its defaults but for address and keys, and an account of its own.
`make clients CLIENT=basana` runs one of them; the table shows the last run of each.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from penstock.core.machine import SYSTEM_CLOCK
from penstock.practice.control import PracticeControl
from penstock.practice.server import AccountSpec, PracticeServer
from penstock.practice.synthetic import DEFAULT_SYMBOLS, SyntheticCandles
from tests.clients.comparison import Books, differences
from tests.clients.environments import CLIENTS, FOLDER, Client, install

SECRET = "practice-secret"
CASH = {"USDT": "100000"}
#: A call that no route takes, and one that Binance has taken away.
NOT_OFFERED = ("404", "405", "410")
console = Console(highlight=False, width=120)


@dataclass(frozen=True)
class Outcome:
    """What a client's run came to."""

    client: str
    version: str
    at: str
    """When it ran (UTC)."""
    calls: int
    """The calls that reached the exchange."""
    not_offered: int
    """Those among them that the exchange does not claim to answer."""
    refused: tuple[str, ...]
    """The refusals of the rest, by route, status and code."""
    raised: tuple[str, ...]
    """The calls of the script that raised in the client."""
    orders: int
    fills: int
    differences: tuple[str, ...]
    """Where the client's books differ from the journal."""

    @property
    def is_good(self) -> bool:
        nothing = (self.refused, self.raised, self.differences)
        return not any(nothing) and self.orders > 0 and self.fills > 0


def run(client: Client, server: PracticeServer, control: PracticeControl) -> Outcome:
    """Run a client's script and compare what it wrote with the exchange's journal."""
    before, books = control.stats(), client.folder / "books.json"
    books.unlink(missing_ok=True)
    variables = {"URL": server.url, "KEY": client.account, "SECRET": SECRET}
    variables |= {"BOOKS": str(books), "FOLDER": str(client.folder)}
    ended = subprocess.run(
        client.command,
        env={**os.environ, **{f"CLIENT_{name}": value for name, value in variables.items()}},
        check=False,
    )
    after, journal = control.stats(), Books.of_journal(control.journal(), client.account)
    refused = _grown(before["refusals"], after["refusals"])
    raised, differing = [], [f"the script ended with {ended.returncode}, without books"]
    if books.exists():
        read = json.loads(books.read_text(encoding="utf-8"))
        raised, differing = read["failed"], differences(Books.of_client(read), journal)
    return Outcome(
        client.folder.name,
        client.version,
        f"{datetime.fromtimestamp(SYSTEM_CLOCK.now().timestamp(), UTC):%Y-%m-%d %H:%M}",
        sum(
            times
            for name, times in _grown(before["requests"], after["requests"]).items()
            if not name.split()[-1].startswith("/practice/")
        ),
        sum(times for name, times in refused.items() if _not_offered(name)),
        tuple(f"{name} ({times})" for name, times in refused.items() if not _not_offered(name)),
        tuple(raised),
        len(journal.orders),
        len(journal.trades or {}),
        tuple(differing),
    )


def _grown(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return dict(Counter(after) - Counter(before))


def _not_offered(refusal: str) -> bool:
    """Return whether a refusal, as "GET /api/v3/x 404 -1020", is of a call that is not claimed."""
    return refusal.split()[-2] in NOT_OFFERED


def _result(client: Client) -> Path:
    return FOLDER / f"{client.folder.name}.json"


def _show(outcomes: list[Outcome]) -> None:
    table = Table("client", "version", "run (UTC)", "calls", "not offered", "refused", "raised")
    for name in ("orders", "fills", "books equal"):
        table.add_column(name)
    for each in outcomes:
        counts = [each.calls, each.not_offered, len(each.refused), len(each.raised)]
        counts += [each.orders, each.fills]
        equal = "no" if each.differences else "yes"
        table.add_row(each.client, each.version, each.at, *map(str, counts), equal)
    console.print(table)
    for each in outcomes:
        for line in (*each.refused, *each.raised, *each.differences):
            console.print(f"{each.client}: {line}", soft_wrap=True)


def main(wanted: str) -> int:
    """Run the wanted client, or all; return 1 where one failed or its books differ."""
    chosen = [client for client in CLIENTS if wanted in ("", client.name, client.folder.name)]
    if not chosen:
        names = ", ".join(client.folder.name for client in CLIENTS)
        console.print(f"no client '{wanted}': there are {names}")
        return 2
    for client in chosen:
        install(client, console.print)
    year = SYSTEM_CLOCK.now().year
    candles = SyntheticCandles(
        DEFAULT_SYMBOLS, datetime(year - 1, 1, 1, tzinfo=UTC), datetime(year + 2, 1, 1, tzinfo=UTC)
    )
    accounts = tuple(AccountSpec(client.account, SECRET, CASH) for client in chosen)
    with PracticeServer(candles, accounts=accounts) as server:
        control = PracticeControl(server.url)
        for client in chosen:
            console.print(f"{client.folder.name} {client.version}: at {server.url} ...")
            outcome = run(client, server, control)
            _result(client).write_text(json.dumps(asdict(outcome), indent=1), encoding="utf-8")
    outcomes = [found for found in map(_last_run, CLIENTS) if found is not None]
    _show(outcomes)
    ran = {client.folder.name for client in chosen}
    return int(not all(each.is_good for each in outcomes if each.client in ran))


def _last_run(client: Client) -> Outcome | None:
    """Return what the client's last run came to; None before the first of this table's form."""
    if not _result(client).exists():
        return None
    read: dict[str, Any] = json.loads(_result(client).read_text(encoding="utf-8"))
    if read.keys() != Outcome.__annotations__.keys():
        return None
    lists: dict[str, Any] = {
        name: tuple(read.pop(name)) for name in ("refused", "raised", "differences")
    }
    return Outcome(**read, **lists)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
