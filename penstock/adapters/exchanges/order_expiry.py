"""How old a signed order may be when its venue takes it, and how an order carries its age.

A process may be suspended between its last look at the lease and the sending of an order. It must
not send when it wakes. No check of ours can close that gap. The venue closes it: it refuses a
request that is signed as of the look and comes too late (decision 0007). How long "no such order"
is doubted follows from the same age, and is decided here too.
"""

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import structlog

from penstock.adapters.exchanges.venue_families import family_of
from penstock.core.errors import ConfigError

#: How long Kraken may take an order. It wants a deadline that is two to sixty seconds ahead when
#: the order arrives.
_KRAKEN_ORDER_LIFE = timedelta(seconds=10)
#: How many seconds an order that its venue has taken may stay out of the venue's answers.
_OUT_OF_SIGHT = 60.0
#: How many seconds a venue's answers about an order may lag behind its answer to the order. No
#: venue states a figure; Bybit works orders off after it has answered.
_LAGS: Mapping[str, float] = {
    "binance": 1.0,
    "bybit": 2.0,
    "okx": 1.0,
    "kraken": 2.0,
    "whitebit": 2.0,
}
#: Seconds for differing clocks and slow answers.
_MARGIN = 5.0
#: So many of the last nonces are remembered.
_NONCES_KEPT = 100_000
_log = structlog.get_logger(__name__)


class AgeLimit(StrEnum):
    """How a venue learns when an order was asked for."""

    TIMESTAMP = "the request's timestamp"
    """A parameter of the request, which ccxt lets the caller set."""
    SIGNATURE = "the time of the signature"
    """A header that ccxt sets itself."""
    DEADLINE = "a deadline of its own"
    """A time after which the venue refuses the order."""
    NONCE = "the request's nonce"
    """A time in the request, which the venue takes once; ccxt lets the caller set it."""


#: The longest age at which a venue takes an order, in seconds: ccxt asks for it, or the venue sets
#: it.
_LIMITS: Mapping[str, tuple[AgeLimit, float]] = {
    "binance": (AgeLimit.TIMESTAMP, 10.0),
    "bybit": (AgeLimit.SIGNATURE, 5.0),
    "okx": (AgeLimit.SIGNATURE, 30.0),
    "kraken": (AgeLimit.DEADLINE, _KRAKEN_ORDER_LIFE.total_seconds()),
    "whitebit": (AgeLimit.NONCE, 5.0),
}


def age_limit(venue: str) -> str | None:
    """Return how the venue refuses an old order, in words; None where no way is known.

    A venue without one would take the order of a process that was suspended.
    """
    found = _LIMITS.get(family_of(venue))
    return None if found is None else f"orders older than {found[1]:g} s are refused, by {found[0]}"


def visibility_delay(venues: Collection[str], wanted: float | None = None) -> float:
    """Return for how many seconds "no such order" is doubted at these venues.

    It adds the longest age at which one of them takes an order, the time that the order may be out
    of sight, and a margin. `wanted` is what is configured, if anything. Raises ConfigError where
    that is less: a second order could be sent too early. A venue whose limit is not known counts as
    the slowest; it trades on paper, so nothing is sent.
    """
    ages = {family: seconds for family, (_, seconds) in _LIMITS.items()}
    age = _slowest(ages, venues)
    least = age + _OUT_OF_SIGHT + _MARGIN
    if wanted is not None and wanted < least:
        raise ConfigError(
            f"visibility_delay_seconds is {wanted:g}, and {', '.join(sorted(venues))} needs "
            f"{least:g} at least: an order is taken up to {age:g} s after it was signed "
            f"and may be out of sight for {_OUT_OF_SIGHT:g} s; {_MARGIN:g} s are for clocks. "
            'Whoever believes "no such order" earlier sends a second one: raise it, or leave it out'
        )
    return least if wanted is None else wanted


def refusal_lag(venues: Collection[str]) -> float:
    """Return after how many seconds these venues are asked for an order that they refused.

    A venue that is not known counts as the slowest.
    """
    return _slowest(_LAGS, venues)


def _slowest(seconds: Mapping[str, float], venues: Collection[str]) -> float:
    """Return the longest time of these venues, by family; of all where one is not known."""
    longest = max(seconds.values())
    return max((seconds.get(family_of(venue), longest) for venue in venues), default=longest)


class _SigningTime(threading.local):
    at: datetime | None = None


class RequestAge:
    """Signs a venue's orders as of a given time. Thread-safe: each thread has its own time."""

    def __init__(self, venue: str, client: Any) -> None:
        known = _LIMITS.get(family_of(venue))
        self._limit = None if known is None else known[0]
        self._client = client
        self._signing = _SigningTime()
        self._nonces: dict[int, None] = {}
        self._nonces_lock = threading.Lock()
        if self._limit is AgeLimit.SIGNATURE:
            self._stamp_with(client.nonce)
        if self._limit is AgeLimit.NONCE:
            # Without the option the venue looks only whether nonces rise, and takes an old order.
            client.options["nonceWindow"] = True
            self._count_with(client.incrementing_nonce)
        if self._limit is None:
            _log.warning(
                "old_orders_are_taken",
                venue=venue,
                meaning="a process that slept could send an order late",
            )

    def _stamp_with(self, own: Any) -> None:
        """Give ccxt the order's time while an order is signed, and its own time otherwise."""
        self._client.nonce = lambda: (
            own() if self._signing.at is None else self._milliseconds(self._signing.at)
        )

    def _count_with(self, own: Any) -> None:
        """Have ccxt's own requests pass over the nonces of orders."""
        self._client.incrementing_nonce = lambda: self._unused(own())

    def _unused(self, nonce: int) -> int:
        """Return the nonce, or the next one that no request of this client has had.

        A later one than the newest would make an old order look new.
        """
        with self._nonces_lock:
            while nonce in self._nonces:
                nonce += 1
            self._nonces[nonce] = None
            if len(self._nonces) > _NONCES_KEPT:
                del self._nonces[next(iter(self._nonces))]
        return nonce

    @contextmanager
    def signed_as_of(self, asked_at: datetime | None) -> Iterator[dict[str, Any]]:
        """Sign what this thread sends as of `asked_at`; yield the order's parameters for it."""
        self._signing.at = asked_at
        try:
            yield {} if asked_at is None else self._parameters(asked_at)
        finally:
            self._signing.at = None

    def _parameters(self, asked_at: datetime) -> dict[str, Any]:
        if self._limit is AgeLimit.TIMESTAMP:
            return {"timestamp": self._milliseconds(asked_at)}
        if self._limit is AgeLimit.NONCE:
            return {"nonce": str(self._unused(self._milliseconds(asked_at)))}
        if self._limit is AgeLimit.DEADLINE:
            signed = timedelta(milliseconds=self._milliseconds(asked_at))
            deadline = datetime.fromtimestamp(0, UTC) + signed + _KRAKEN_ORDER_LIFE
            return {"deadline": deadline.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
        return {}

    def _milliseconds(self, at: datetime) -> int:
        """Return the time by the venue's clock, with the difference that ccxt has measured."""
        ahead = int(self._client.options.get("timeDifference") or 0)
        return round(at.timestamp() * 1000) - ahead
