"""What the commands share: where they print, the options that mean the same in each, and how a time
is written.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from penstock.core.errors import ConfigError

if TYPE_CHECKING:
    from penstock.wiring import Platform

out = Console()
err = Console(stderr=True)


def say(sentence: str, console: Console = out) -> None:
    """Print a sentence as it stands: it may hold brackets, and a command in it must not be broken
    into two lines.
    """
    console.print(sentence, soft_wrap=True, highlight=False, markup=False)


def stated(reason: str) -> str:
    """Return the reason; raise typer.BadParameter where it says nothing: it is what others will
    read of the decision.
    """
    if not reason.strip():
        raise typer.BadParameter("say why: others will read it")
    return reason.strip()


TimeframeOption = Annotated[
    str, typer.Option("--timeframe", "-t", help="Bar length: 1m, 5m, 15m, 30m, 1h, 4h or 1d.")
]
PortfolioOption = Annotated[
    str, typer.Option("--portfolio", "-p", help="A portfolio of configs/portfolio.yaml.")
]
StudyOption = Annotated[str, typer.Option("--study", help="A study of configs/research.yaml.")]
ReasonOption = Annotated[str, typer.Option(help="Why; kept with your name.", callback=stated)]
SymbolsOption = Annotated[
    list[str] | None,
    typer.Option("--symbol", "-s", help="Only this symbol (repeat for more), like BTC/USDT."),
]


def parse_instant(text: str) -> datetime:
    """Return the instant written as ISO 8601, UTC where it names no zone; raise ConfigError showing
    the form.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"'{text}' is not a time: write it like 2026-01-31T00:00 (UTC)") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


@contextmanager
def opened_platform() -> "Iterator[Platform]":
    """Yield the platform, its database open. An embedded one takes seconds to start, and silence
    looks like a hang.
    """
    from penstock.wiring import open_platform

    with ExitStack() as opened:
        with err.status("opening the database"):
            platform = opened.enter_context(open_platform())
            platform.database  # noqa: B018 - asking for it starts and migrates it
        yield platform
