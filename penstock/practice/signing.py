"""Who sends a request: API key, HMAC-SHA256 signature and timestamp, with Binance's error codes."""

import hashlib
import hmac
import re
from collections.abc import Mapping

from penstock.practice.accounts import PracticeAccount
from penstock.practice.binance_errors import PracticeRefusal, illegal_parameter, missing_parameter
from penstock.practice.clock import ClockMode, VenueTime

_SIGNATURE = re.compile(rb"(?:^|&)signature=([^&]*)")
_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_AHEAD_MS = 1000
_DEFAULT_WINDOW_MS = 5000
_MAX_WINDOW_MS = 60_000


def authenticate(
    accounts: Mapping[str, PracticeAccount],
    time_of_venue: VenueTime,
    api_key: str,
    payload: bytes,
    parameters: Mapping[str, str],
) -> PracticeAccount:
    """Return the account that signed the request.

    Raises PracticeRefusal with -2014, -2015, -1022, -1021 or -1102 otherwise. `payload` is the
    query string followed by the body, as sent; the signature covers all of it but itself. On a
    clock that is not the machine's, a timestamp may follow either clock. A client signs with its
    own machine's time.
    """
    if not _KEY.fullmatch(api_key):
        raise PracticeRefusal(-2014, "API-key format invalid.", status=401)
    account = accounts.get(api_key)
    if account is None:
        raise PracticeRefusal(-2015, "Invalid API-key, IP, or permissions for action.", status=401)
    found = _SIGNATURE.search(payload)
    if found is None:
        raise missing_parameter("signature")
    signed = payload[: found.start()] + payload[found.end() :]
    expected = hmac.new(account.secret.encode(), signed, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), found.group(1).lower()):
        raise PracticeRefusal(-1022, "Signature for this request is not valid.")
    _check_time(time_of_venue, parameters)
    return account


def _check_time(time_of_venue: VenueTime, parameters: Mapping[str, str]) -> None:
    timestamp = _integer(parameters, "timestamp", None)
    window = _integer(parameters, "recvWindow", _DEFAULT_WINDOW_MS)
    if window > _MAX_WINDOW_MS:
        raise PracticeRefusal(-1131, "recvWindow must be less than 60000")
    clocks = [time_of_venue.now_ms()]
    if time_of_venue.mode is not ClockMode.REAL:
        clocks.append(time_of_venue.machine_now_ms())
    if any(now - window <= timestamp < now + _AHEAD_MS for now in clocks):
        return
    if timestamp >= max(clocks) + _AHEAD_MS:
        raise PracticeRefusal(
            -1021, "Timestamp for this request was 1000ms ahead of the server's time."
        )
    raise PracticeRefusal(-1021, "Timestamp for this request is outside of the recvWindow.")


def _integer(parameters: Mapping[str, str], name: str, default: int | None) -> int:
    text = parameters.get(name)
    if text is None:
        if default is None:
            raise missing_parameter(name)
        return default
    if not text.isdigit():
        raise illegal_parameter(name)
    return int(text)
