"""What the commands share: where they print, the options that mean the same in each, and how a time is written."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from penstock.core.errors import ConfigError

out = Console()
err = Console(stderr=True)

TimeframeOption = Annotated[str, typer.Option("--timeframe", "-t", help="Bar length: 1m, 5m, 15m, 30m, 1h, 4h or 1d.")]
PortfolioOption = Annotated[str, typer.Option("--portfolio", "-p", help="A portfolio of configs/portfolio.yaml.")]
StudyOption = Annotated[str, typer.Option("--study", help="A study of configs/research.yaml.")]
SymbolsOption = Annotated[
    list[str] | None, typer.Option("--symbol", "-s", help="Only this symbol (repeat for more), like BTC/USDT.")
]


def parse_instant(text: str) -> datetime:
    """Return the instant written as ISO 8601, UTC where it names no zone; raise ConfigError showing the form."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"'{text}' is not a time: write it like 2026-01-31T00:00 (UTC)") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
