"""What the commands share: consoles, environment, actor and options, and how a time or an amount is
written.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, TextIO, cast

import typer
from rich.console import Console

from penstock.core.actors import Actor, Channel
from penstock.core.errors import ConfigError
from penstock.core.machine import user_name
from penstock.monitoring.log_output import LossyStream
from penstock.settings import Settings

if TYPE_CHECKING:
    from penstock.wiring import Platform


def _console(stream: Callable[[], TextIO]) -> tuple[Console, LossyStream]:
    # rich puts a stream of its own in the place of the standard ones while a bar is shown
    lossy = LossyStream(lambda: getattr(stream(), "rich_proxied_file", stream()))
    return Console(file=cast("TextIO", lossy)), lossy


#: What cannot be written stops nothing that a command does: `lost_output` tells of it at the end.
out, _out_stream = _console(lambda: sys.stdout)
err, _err_stream = _console(lambda: sys.stderr)
#: The environment variables that the command works with: the caller's own, or those of the stack
#: that it follows.
_variables: ContextVar[Mapping[str, str]] = ContextVar("variables")


def work_with(variables: Mapping[str, str]) -> None:
    """Let the command work with these environment variables."""
    _variables.set(variables)


def environment() -> Mapping[str, str]:
    """Return the environment variables that the command works with."""
    return _variables.get(os.environ)


def settings(default_env: str = "") -> Settings:
    """Return the settings of the command's environment. `default_env` is the environment of a
    command that has another default than the others, where PENSTOCK_ENV is not set.
    """
    variables = environment()
    env = variables.get("PENSTOCK_ENV") or default_env
    return Settings.of({**variables, "PENSTOCK_ENV": env})


def operator() -> Actor:
    """Return who runs the command: the user of this machine's account."""
    return Actor(user_name(), Channel.CLI)


def say(sentence: str, console: Console = out) -> None:
    """Print a sentence as it stands. It may hold brackets, and no command in it is broken into two
    lines.
    """
    console.print(sentence, soft_wrap=True, highlight=False, markup=False)


def lost_output() -> Exception | None:
    """Return why something that the command answered could not be written; None where nothing was
    lost.
    """
    return _out_stream.error


def stated(reason: str) -> str:
    """Return the reason without spaces around it. Raise typer.BadParameter where it is empty."""
    if not reason.strip():
        raise typer.BadParameter("say why: others will read it")
    return reason.strip()


TimeframeOption = Annotated[
    str, typer.Option("--timeframe", "-t", help="Bar length: 1m, 5m, 15m, 30m, 1h, 4h or 1d.")
]
PortfolioOption = Annotated[
    str, typer.Option("--portfolio", "-p", help="A portfolio of configs/portfolio.yaml.")
]
#: Of a command that acts on every account where none is named.
OnlyPortfolioOption = Annotated[
    str | None,
    typer.Option(
        "--portfolio", "-p", help="Only this portfolio's account. Default: every account."
    ),
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


def parse_amount(text: str) -> Decimal:
    """Return the amount written as a finite decimal number; raise ConfigError showing the form."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("nan")
    if not amount.is_finite():
        raise ConfigError(f"'{text}' is no amount: write it like 1000 or 0.25")
    return amount


@contextmanager
def opened_platform() -> "Iterator[Platform]":
    """Yield the platform, its database open. An embedded database takes seconds to start: a spinner
    says so.
    """
    from penstock.wiring import open_platform

    chosen = settings()
    is_new = not chosen.home.exists()
    with ExitStack() as opened:
        with err.status("opening the database"):
            platform = opened.enter_context(open_platform(chosen))
            platform.open_database()
        if is_new and chosen.home.exists():
            say(f"note: {chosen.home} is new and empty; PENSTOCK_HOME names another home", err)
        yield platform
