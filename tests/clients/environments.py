"""The foreign clients, and an environment of its own for each: pip and npm install them there."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
#: Git ignores it.
FOLDER = ROOT / "build" / "clients"


@dataclass(frozen=True)
class Client:
    """A client that somebody else has written."""

    name: str
    """The package, as its registry has it."""
    version: str
    """The version that is installed."""
    script: str
    """Our script that uses it, in this folder."""
    is_node: bool = False
    """Whether it is JavaScript; else it is Python."""

    @property
    def folder(self) -> Path:
        """The folder of its environment."""
        return FOLDER / (f"{self.name}-js" if self.is_node else self.name)

    @property
    def account(self) -> str:
        """The name of its account at the exchange."""
        return self.folder.name

    @property
    def command(self) -> list[str]:
        """What runs its script."""
        program = "node" if self.is_node else str(self.folder / "bin" / "python")
        return [program, str(HERE / self.script)]


CLIENTS = (
    Client("python-binance", "1.0.37", "python_binance.py"),
    Client("binance-connector", "3.13.0", "binance_connector.py"),
    Client("binance-sdk-spot", "13.3.0", "binance_sdk.py"),
    Client("basana", "1.11", "basana_orders.py"),
    Client("ccxt", "4.5.84", "ccxt_js.mjs", is_node=True),
    Client("freqtrade", "2026.9", "freqtrade_live.py"),
)


def install(client: Client, say: Callable[[str], None]) -> None:
    """Make the client's environment where it is missing or of other versions.

    Raises CalledProcessError where pip or npm fails.
    """
    mark, pinned = client.folder / ".installed", _pinned(client)
    if mark.exists() and mark.read_text(encoding="utf-8") == pinned:
        return
    say(f"{client.name} {client.version}: installing into {client.folder.relative_to(ROOT)} ...")
    client.folder.mkdir(parents=True, exist_ok=True)
    for command in _commands(client):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=client.folder)
    mark.write_text(pinned, encoding="utf-8")


def _pinned(client: Client) -> str:
    """Return the versions of everything in the environment."""
    if client.is_node:
        return f"{client.name}@{client.version}"
    return _requirements(client).read_text(encoding="utf-8")


def _requirements(client: Client) -> Path:
    return HERE / "requirements" / f"{client.name}.txt"


def _commands(client: Client) -> list[list[str]]:
    if client.is_node:
        options = ["--no-package-lock", "--no-save", "--no-audit", "--no-fund", "--prefix", "."]
        return [["npm", "install", "--silent", *options, f"{client.name}@{client.version}"]]
    python = str(client.folder / "bin" / "python")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps"]
    return [
        [sys.executable, "-m", "venv", "."],
        [python, "-m", "pip", "install", *options, "-r", str(_requirements(client))],
    ]
