"""Who asks for something, and by which way."""

from dataclasses import dataclass
from enum import StrEnum


class Channel(StrEnum):
    """The ways by which a use case is reached."""

    CLI = "cli"
    FLOW = "flow"
    API = "api"
    TELEGRAM = "telegram"
    DEMO = "demo"
    NOTEBOOK = "notebook"


@dataclass(frozen=True)
class Actor:
    """Who asks: a person or a machine, by one of the ways."""

    name: str
    """The name, kept as `by` with what is decided: halts, accepted breaks, promotions."""
    channel: Channel
    """The way."""
