"""How old a signed order may be when its venue takes it, and how the order is given its age.

A process that falls asleep between its last look at the lease and the sending must not send when it
wakes. No look of ours can close that gap; the venue closes it by refusing a request that is signed
as of the look and comes too late (decision 0007). How long a venue's "no such order" is doubted
follows from the same age: that is decided here too.
"""

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import structlog

from penstock.core.errors import ConfigError

#: For how long Kraken is to take an order. It wants a deadline that is two to sixty seconds ahead
#: when the order arrives.
_KRAKEN_ORDER_LIFE = timedelta(seconds=10)
#: For how many seconds an order that its venue has taken may stay out of the venue's answers.
_OUT_OF_SIGHT = 60.0
#: Seconds for clocks that differ and answers that are slow.
_MARGIN = 5.0
_log = structlog.get_logger(__name__)


class AgeLimit(StrEnum):
    """How a venue is told when an order was asked for."""

    TIMESTAMP = "the request's timestamp"  # ccxt lets a parameter stand in its place
    SIGNATURE = "the time of the signature"  # a header that ccxt stamps itself
    DEADLINE = "a deadline of its own"  # a time after which the venue refuses the order


#: The longest age at which a venue takes an order, in seconds, as ccxt asks for it or the venue
#: fixes it.
_LIMITS: Mapping[str, tuple[AgeLimit, float]] = {
    **dict.fromkeys(("binance", "binanceus"), (AgeLimit.TIMESTAMP, 10.0)),
    **dict.fromkeys(("bybit", "bybiteu", "bybitid"), (AgeLimit.SIGNATURE, 5.0)),
    **dict.fromkeys(("okx", "okxus", "myokx"), (AgeLimit.SIGNATURE, 30.0)),
    "kraken": (AgeLimit.DEADLINE, _KRAKEN_ORDER_LIFE.total_seconds()),
}


def age_limit(venue: str) -> str | None:
    """Return in words how the venue refuses an old order; None where no way is known: a sleeper's
    order would be taken.
    """
    found = _LIMITS.get(venue)
    return None if found is None else f"orders older than {found[1]:g} s are refused, by {found[0]}"


def visibility_delay(venues: Collection[str], wanted: float | None = None) -> float:
    """Return for how many seconds "no such order" is doubted at these venues; `wanted` is what is
    configured, if anything.

    That is the longest age at which one of them takes an order, for so long the order may be out of
    sight afterwards, and a margin. ConfigError where less is wanted: the denial would be believed
    too early and a second order sent. A venue whose limit is not known (nothing is sent there, it
    trades on paper) counts as the slowest.
    """
    slowest = max(seconds for _, seconds in _LIMITS.values())
    age = max(
        (_LIMITS[venue][1] if venue in _LIMITS else slowest for venue in venues), default=slowest
    )
    least = age + _OUT_OF_SIGHT + _MARGIN
    if wanted is not None and wanted < least:
        raise ConfigError(
            f"visibility_delay_seconds is {wanted:g}, and {', '.join(sorted(venues))} needs {least:g} at least: an order is "
            f"taken up to {age:g} s after it was signed and may be out of sight for {_OUT_OF_SIGHT:g} s; {_MARGIN:g} s are for "
            'clocks. Whoever believes "no such order" earlier sends a second one: raise it, or leave it out'
        )
    return least if wanted is None else wanted


class _SigningTime(threading.local):
    at: datetime | None = None


class RequestAge:
    """Signs a venue's orders as of a given time. Thread-safe: the time is that of the calling
    thread's order.
    """

    def __init__(self, venue: str, client: Any) -> None:
        self._limit = _LIMITS[venue][0] if venue in _LIMITS else None
        self._client = client
        self._signing = _SigningTime()
        if self._limit is AgeLimit.SIGNATURE:
            self._stamp_with(client.nonce)
        if self._limit is None:
            _log.warning(
                "old_orders_are_taken",
                venue=venue,
                meaning="a process that slept could send an order late",
            )

    def _stamp_with(self, own: Any) -> None:
        """Give ccxt the order's time for its stamp while an order is signed, and its own time
        otherwise.
        """
        self._client.nonce = lambda: (
            own() if self._signing.at is None else self._milliseconds(self._signing.at)
        )

    @contextmanager
    def signed_as_of(self, asked_at: datetime | None) -> Iterator[dict[str, Any]]:
        """Sign what this thread sends as of `asked_at`, and yield the parameters that the order
        needs for it.
        """
        self._signing.at = asked_at
        try:
            yield {} if asked_at is None else self._parameters(asked_at)
        finally:
            self._signing.at = None

    def _parameters(self, asked_at: datetime) -> dict[str, Any]:
        if self._limit is AgeLimit.TIMESTAMP:
            return {"timestamp": self._milliseconds(asked_at)}
        if self._limit is AgeLimit.DEADLINE:
            deadline = (asked_at + _KRAKEN_ORDER_LIFE).astimezone(UTC)
            return {"deadline": deadline.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
        return {}

    def _milliseconds(self, at: datetime) -> int:
        """Return the time by the venue's clock, as far as ccxt has measured how much ours is ahead."""
        ahead = int(self._client.options.get("timeDifference") or 0)
        return round(at.timestamp() * 1000) - ahead
