"""The right to write for an account."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Lease:
    """The right to write for one account until `expires_at`. A later lease has a higher `token` and
    voids this one.
    """

    account: str
    holder: str
    token: int
    expires_at: datetime
