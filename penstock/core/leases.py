"""The right to write for an account."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Lease:
    """The right to write for one account. A later lease voids this one."""

    account: str
    """The account's name."""
    holder: str
    """The name of the process that has it, used once."""
    token: int
    """The fencing token: a later lease has a higher one, and the database checks it."""
    expires_at: datetime
    """When it ends by the database's clock, unless it is renewed (UTC)."""
