"""The HTTP session under ccxt: it remembers what answered the present call, and can lead a venue's addresses elsewhere.

ccxt's error classes do not tell whether the venue has spoken (a broken answer may surface as ExchangeError), so the
translation of errors asks the session. State is per thread: several threads may use one session at a time.
"""

import threading
import time
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter


class LastAnswer(threading.local):
    """What this thread's last request came to: whether one was sent, and the status and Retry-After of a whole answer."""

    sent: bool = False
    status: int | None = None
    retry_after: float | None = None

    def reset(self) -> None:
        self.sent, self.status, self.retry_after = False, None, None


class VenueSession(requests.Session):
    """A session that records into `last`. With `base_url` every request goes there: scheme and host replaced, path kept.

    So a practice exchange is used under the venue's own addresses, on which ccxt's choice of error table depends.
    """

    def __init__(self, base_url: str | None = None, connections: int = 32) -> None:
        super().__init__()
        self.last = LastAnswer()
        self._base = None if base_url is None else urlsplit(base_url)
        if base_url is not None:
            self.trust_env = False  # a local venue is never reached through a proxy
        adapter = HTTPAdapter(pool_maxsize=connections, max_retries=0)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        self.last.reset()
        self.last.sent = True
        response = super().request(method, self._led(str(url)), *args, **kwargs)
        self.last.status = response.status_code  # only now: the whole body has been read
        self.last.retry_after = _seconds(response.headers.get("Retry-After"))
        return response

    def _led(self, url: str) -> str:
        if self._base is None:
            return url
        parts = urlsplit(url)
        return urlunsplit((self._base.scheme, self._base.netloc, parts.path, parts.query, ""))


def _seconds(header: str | None) -> float | None:
    try:
        return None if header is None else float(header)
    except ValueError:
        return None  # an HTTP date: the caller's own waiting time serves


class Throttle:
    """Spaces calls `seconds_per_unit` times their cost apart, across threads. ccxt's own throttle is not thread-safe."""

    def __init__(self, seconds_per_unit: float) -> None:
        self._unit = seconds_per_unit
        self._lock = threading.Lock()
        self._next = 0.0

    def __call__(self, cost: float | None = None) -> None:
        """Wait for this call's turn."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._unit * (1.0 if cost is None else float(cost))
        wait = turn - time.monotonic()
        if wait > 0:
            time.sleep(wait)
