"""The file of a certification: what was tried, what the venue showed, and its answers.

It has all that is needed to put the same questions to the same answers again.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from penstock.core.errors import DataError
from penstock.execution.certification.script import CertifiedStep
from penstock.ports import RecordedAnswer


@dataclass(frozen=True)
class VenueRecording:
    """One run of the script at one venue."""

    venue: str
    """The venue's name in ccxt."""
    network: str
    """"practice", "test" or "real"."""
    symbol: str
    """What was traded."""
    most: Decimal
    """What an order could cost at most (quote units)."""
    patience_seconds: float
    """How long the venue could take to show what became of an order."""
    poll_seconds: float
    """The time between two questions about it."""
    at: datetime
    """When it began, by this machine's clock."""
    ccxt: str
    """The version of ccxt."""
    penstock: str
    """The version of Penstock."""
    steps: tuple[CertifiedStep, ...]
    """What was tried and seen."""
    left: tuple[str, ...]
    """What was left at the venue."""
    names: tuple[str, ...]
    """The client order ids, in the order of their use."""
    answers: tuple[RecordedAnswer, ...]
    """The venue's answers without secrets, in their order."""


_FILE = TypeAdapter(VenueRecording)


def write_recording(path: Path, recording: VenueRecording) -> None:
    """Write the file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_FILE.dump_json(recording, indent=1) + b"\n")


def read_recording(path: Path) -> VenueRecording:
    """Return what a file holds. Raises DataError where it is no recording."""
    try:
        return _FILE.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"{path} is no recording of a certification: {error}") from None
