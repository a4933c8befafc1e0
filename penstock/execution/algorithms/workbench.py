"""What working orders over time needs besides a desk: the style, the record of parents, and the
volume to expect.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from penstock.execution.algorithms.styles import MarketStyle, Style
from penstock.execution.algorithms.volume import VolumeProfile
from penstock.ports import ParentOrderStore


@dataclass(frozen=True)
class Workbench:
    """How an account's orders are worked.

    `profile(symbol, slot)` is the volume by time of day, for VWAP; without it volume counts as
    even.
    """

    store: ParentOrderStore
    style: Style = field(default_factory=MarketStyle)
    profile: Callable[[str, datetime], VolumeProfile] | None = None
