"""The HTTP session under ccxt. It records each answer, and can send a venue's requests elsewhere.

ccxt's error classes do not tell whether the venue has answered: a broken answer may be an
ExchangeError. So the translation of errors asks the session. Its state is per thread: several
threads may use one session at a time.
"""

import json
import math
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote_plus, urlsplit, urlunsplit

import requests
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import MaxRetryError, NewConnectionError

from penstock.adapters.exchanges.http_adapter import VenueAdapter
from penstock.core.clock import MachineClock
from penstock.core.errors import RateLimitedError
from penstock.core.machine import SYSTEM_CLOCK

#: Takes a request's method, address and body, and its answer; None where no answer came.
Watcher = Callable[[str, str, object, requests.Response | None], None]
_BANNED = 418
#: Binance states the end of a ban in the text alone: "IP banned until 1764300000000".
_BANNED_UNTIL = re.compile(rb"banned until (\d{13})\b")
#: No refusal is longer (bytes).
_LONGEST_REFUSAL = 65_536
#: What stands in the place of a key.
REDACTED = "(redacted)"
#: The signature in an address that a page repeats.
_SIGNED = re.compile(rb"(signature=)[\w%+/=.-]+", re.IGNORECASE)
#: No key of a venue is shorter (characters). A shorter text may be a word of an answer.
_SHORTEST_SECRET = 16
_WITHOUT_BODY = frozenset({"GET", "HEAD"})


class LastAnswer(threading.local):
    """What came of this thread's last request.

    `led_to` is the address to which requests go in the venue's place; "" where they go to it.
    """

    path: str = ""
    """The path that was asked for."""
    sent: bool = False
    """Whether a request was sent in the present call."""
    status: int | None = None
    """The HTTP status of a whole answer; None where there was none."""
    retry_after: float | None = None
    """For how many seconds the venue asks to wait, by the Retry-After header or in the text."""
    body: bytes = b""
    """The body of a whole answer, where it is short enough for a refusal."""
    unreached: bool = False
    """Whether nothing listens where the request was sent: no connection was made."""
    acted: bool = False
    """Whether an earlier request of the call may have changed something at the venue.

    The last answer is then not the answer to that request.
    """
    _method: str = ""

    def __init__(self, led_to: str = "") -> None:
        self.led_to = led_to

    def reset(self) -> None:
        """Forget everything: a new call begins."""
        self.sent, self.acted, self._method, self.path = False, False, "", ""
        self._forget_answer()

    def begin(self, method: str, url: str) -> None:
        """Note that a request leaves now. It need not be the first one of the call."""
        self.acted = self.acted or (self.sent and self._method != "GET")
        self.sent, self._method, self.path = True, method.upper(), urlsplit(url).path
        self._forget_answer()

    def _forget_answer(self) -> None:
        self.status, self.retry_after, self.body, self.unreached = None, None, b"", False


class VenueSession(requests.Session):
    """A session that records into `last`. While the venue bans us (418) it sends nothing.

    `secrets` are replaced in every answer: Bybit repeats the key in a refusal, and refusals are
    logged. With `base_url` every request goes there: scheme and host are replaced, the path is
    kept. A practice exchange is so used under the venue's own addresses: ccxt chooses its table of
    errors by them.
    """

    def __init__(
        self,
        base_url: str | None = None,
        connections: int = 32,
        proxy: str | None = None,
        clock: MachineClock = SYSTEM_CLOCK,
        secrets: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self.last = LastAnswer(base_url or "")
        self._keys = frozenset(secrets)
        self._secrets = [form for secret in self._keys for form in _forms_of(secret)]
        self._clock = clock
        self._banned_until = 0.0  # elapsed seconds
        self._base = None if base_url is None else urlsplit(base_url)
        if base_url is not None:
            self.trust_env = False  # a local venue has no proxy before it
        if proxy is not None:
            self.trust_env = False  # requests would let the environment's proxy come first
            self.proxies = {"http": proxy, "https": proxy}
        adapter = VenueAdapter(connections)
        self.mount("https://", adapter)
        self.mount("http://", adapter)
        self._watcher: Watcher | None = None
        self._settings: dict[tuple[str, bool | str | None], Mapping[str, Any]] = {}
        self._own_headers = dict(self.headers)

    def watch(self, watcher: Watcher) -> None:
        """Have `watcher` see each request with its answer, before the caller does."""
        self._watcher = watcher

    def request(
        self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any
    ) -> requests.Response:
        """Send a request. Raises RateLimitedError, and sends nothing, while the venue bans us."""
        left = self._banned_until - self._clock.elapsed_seconds()
        if left > 0:
            raise RateLimitedError(
                f"HTTP 418 holds for {left:.0f} s more: the venue bans us, nothing was sent", left
            )
        self.last.begin(str(method), str(url))
        try:
            response = self._answer(str(method), self._led(str(url)), *args, **kwargs)
            self._remove_secrets(response)  # reads the body, which may break off
        except requests.RequestException as error:
            self.last.unreached = _is_unreached(error)
            self._tell(str(method), str(url), kwargs.get("data"), None)
            raise
        self._tell(str(method), str(url), kwargs.get("data"), response)
        self.last.status = response.status_code  # the whole body has been read
        self.last.retry_after = self._wait_asked_for(response)
        if response.status_code == _BANNED and self.last.retry_after is not None:
            self._banned_until = self._clock.elapsed_seconds() + self.last.retry_after
        if len(response.content) <= _LONGEST_REFUSAL:
            self.last.body = response.content
        return response

    def _remove_secrets(self, response: requests.Response) -> None:
        for secret in self._secrets:
            if secret in response.content:
                response._content = response.content.replace(secret, REDACTED.encode())
        is_short = len(response.content) <= _LONGEST_REFUSAL
        if is_short and b"signature=" in response.content.lower():  # the search takes longer
            response._content = _SIGNED.sub(rb"\1" + REDACTED.encode(), response.content)

    def _answer(
        self,
        method: str,
        url: str,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str | None] | None = None,
        proxies: dict[str, str] | None = None,
        verify: bool | str | None = None,
        timeout: float | None = None,
        files: object = None,
    ) -> requests.Response:
        """Return the answer to a request that ccxt has prepared and signed, sent as it is.

        requests would prepare it once more, for cookies (ccxt drops them) and logins of a netrc
        file. That takes as long as the request. Only what reads is led on by a redirection, and
        only without the account's key: an order and a key go nowhere else.
        """
        if files is not None:
            return super().request(
                method,
                url,
                data=data,
                headers=headers,
                proxies=proxies,
                verify=verify,
                timeout=timeout,
                files=files,  # type: ignore[arg-type]  # as ccxt gives it
            )
        request = requests.PreparedRequest()
        request.method, request.url, request.body = method, url, data or None
        given: dict[str, Any] = {**self._own_headers, **(headers or {})}
        request.headers = CaseInsensitiveDict(
            (name, value) for name, value in given.items() if value is not None
        )
        if data or method not in _WITHOUT_BODY:
            request.headers["Content-Length"] = str(len(data or b""))
        settings = self._settings_of(url, proxies, verify)
        response = self.get_adapter(url).send(request, timeout=timeout, **settings)
        is_led_on = method in _WITHOUT_BODY and self._base is None
        if response.is_redirect and is_led_on and not self._keys & set(given.values()):
            return super().request(
                method, url, headers=headers, proxies=proxies, verify=verify, timeout=timeout
            )
        return response

    def _settings_of(
        self, url: str, proxies: dict[str, str] | None, verify: bool | str | None
    ) -> Mapping[str, Any]:
        """Return by which proxies and certificates a request goes.

        The environment is read once per host: each reading takes about a tenth of a millisecond.
        """
        if proxies:
            return self.merge_environment_settings(url, proxies, None, verify, None)
        end = url.find("/", len("https://"))
        place = (url if end < 0 else url[:end], verify)
        found = self._settings.get(place)
        if found is None:
            found = self.merge_environment_settings(url, {}, None, verify, None)
            self._settings[place] = found
        return found

    def _tell(
        self, method: str, url: str, body: object, response: requests.Response | None
    ) -> None:
        if self._watcher is not None:
            self._watcher(method.upper(), url, body, response)

    def _wait_asked_for(self, response: requests.Response) -> float | None:
        """Return for how many seconds the venue asks to wait; None where it does not say."""
        asked = _seconds(response.headers.get("Retry-After"))
        if asked is not None or response.status_code not in (_BANNED, 429):
            return asked
        found = _BANNED_UNTIL.search(response.content[:_LONGEST_REFUSAL])
        if found is None:
            return None
        now = self._clock.now()
        with suppress(KeyError, ValueError):  # our own clock may differ from the venue's
            now = parsedate_to_datetime(response.headers["Date"])
        return max(int(found[1]) / 1000 - now.timestamp(), 0.0)

    def _led(self, url: str) -> str:
        if self._base is None:
            return url
        parts = urlsplit(url)
        return urlunsplit((self._base.scheme, self._base.netloc, parts.path, parts.query, ""))


def _is_unreached(error: requests.RequestException) -> bool:
    """Return whether no connection was made, so that nothing was sent."""
    pool = error.args[0] if error.args else None
    return isinstance(pool, MaxRetryError) and isinstance(pool.reason, NewConnectionError)


def _forms_of(secret: str) -> set[bytes]:
    """Return how an answer may write a secret: as it is, in JSON, or in an address."""
    if len(secret) < _SHORTEST_SECRET:
        return set()
    return {form.encode() for form in (secret, json.dumps(secret)[1:-1], quote_plus(secret))}


def _seconds(header: str | None) -> float | None:
    """Return the seconds of a header; None where it has none.

    An HTTP date is none, and so is what cannot be waited for: the caller waits as long as it thinks
    fit.
    """
    try:
        seconds = math.nan if header is None else float(header)
    except ValueError:
        return None
    return seconds if 0 <= seconds < math.inf else None


class Throttle:
    """Spaces calls `seconds_per_unit` times their cost apart, across threads.

    ccxt's own throttle is not thread-safe. Time is measured in the machine's elapsed seconds.
    """

    def __init__(self, seconds_per_unit: float, *, clock: MachineClock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._unit = seconds_per_unit
        self._lock = threading.Lock()
        self._next = 0.0

    def __call__(self, cost: float | None = None) -> None:
        """Wait for this call's turn.

        A call that costs nothing does not wait: an order must not age behind reads.
        """
        if cost is not None and not float(cost):
            return
        with self._lock:
            turn = max(self._next, self._clock.elapsed_seconds())
            self._next = turn + self._unit * (1.0 if cost is None else float(cost))
        wait = turn - self._clock.elapsed_seconds()
        if wait > 0:
            self._clock.sleep(wait)
