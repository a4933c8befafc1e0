"""Freqtrade, trading live for some minutes: prices from the order book, stops on the exchange.

`freqtrade/config.json` is a user's configuration; address and keys are put in, and a free port for
its own server, which is asked for the balances. What it keeps of its orders is in its database.
"""

import base64
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent / "freqtrade"
URL, KEY, SECRET = (os.environ[f"CLIENT_{name}"] for name in ("URL", "KEY", "SECRET"))
FOLDER, BOOKS = Path(os.environ["CLIENT_FOLDER"]), Path(os.environ["CLIENT_BOOKS"])
MINUTES = float(os.environ.get("CLIENT_MINUTES", "10"))
STATES = {"closed": "FILLED", "canceled": "CANCELED", "expired": "EXPIRED", "open": "NEW"}
#: Bars close at whole minutes. Half a minute later all that they filled is known to the client.
SETTLED_SECOND = 30


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def configuration(port: int) -> Path:
    """Write the configuration with this exchange's address and keys, and return its file."""
    text = (HERE / "config.json").read_text(encoding="utf-8")
    for old, new in (
        ("127.0.0.1:8190", URL.removeprefix("http://")),
        ('"KEY"', json.dumps(KEY)),
        ('"SECRET"', json.dumps(SECRET)),
        ("8191", str(port)),
    ):
        text = text.replace(old, new)
    file = FOLDER / "config.json"
    file.write_text(text, encoding="utf-8")
    return file


def ask(port: int, method: str, path: str) -> Any:
    """Call Freqtrade's own server."""
    word = base64.b64encode(b"practice:practice").decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1/{path}",
        method=method,
        headers={"Authorization": f"Basic {word}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def trade(port: int, database: Path) -> dict[str, Any]:
    """Let Freqtrade trade, stop it at a settled moment, and return its balances."""
    command = [sys.executable, "-m", "freqtrade", "trade", "--config", str(configuration(port))]
    command += ["--userdir", str(FOLDER / "user_data"), "--strategy", "EveryMinute"]
    command += ["--strategy-path", str(HERE), "--db-url", f"sqlite:///{database}"]
    with (FOLDER / "freqtrade.log").open("wb") as log:
        bot = subprocess.Popen(command, stdout=log, stderr=log, cwd=FOLDER)
        try:
            time.sleep(MINUTES * 60)
            time.sleep((SETTLED_SECOND - time.time()) % 60)
            ask(port, "POST", "stop")
            return dict(ask(port, "GET", "balance"))
        finally:
            bot.send_signal(signal.SIGINT)
            bot.wait(60)


def orders_in(database: Path) -> dict[str, dict[str, str]]:
    """Return the orders that Freqtrade keeps, as the comparison reads them."""
    with sqlite3.connect(database) as connection:
        rows = connection.execute(
            "SELECT order_id, symbol, side, status, filled, average FROM orders"
        ).fetchall()
    return {
        identity: {
            "symbol": symbol.replace("/", ""),
            "side": side.upper(),
            "status": STATES.get(status, status),
            "executed": str(filled or 0),
        }
        for identity, symbol, side, status, filled, _ in rows
    }


def main() -> None:
    database = FOLDER / "trades.sqlite"
    database.unlink(missing_ok=True)  # another exchange's orders are none of this one's
    (FOLDER / "user_data").mkdir(exist_ok=True)
    balance = trade(free_port(), database)
    orders = orders_in(database)
    books = {
        "calls": 0,
        "failed": [],
        "orders": orders,
        "balances": {each["currency"]: str(each["balance"]) for each in balance["currencies"]},
    }
    BOOKS.write_text(json.dumps(books, indent=1), encoding="utf-8")


main()
