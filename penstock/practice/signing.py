"""Who sends a request: API key, HMAC-SHA256 signature and timestamp, with Binance's error codes."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from decimal import Decimal

from penstock.practice.accounts import PracticeAccount
from penstock.practice.binance_errors import PracticeRefusal
from penstock.practice.clock import VenueTime
from penstock.practice.parameters import Parameters

_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_AHEAD_MS = 1000
_DEFAULT_WINDOW_MS = 5000
_MAX_WINDOW_MS = 60_000


def account_of(accounts: Mapping[str, PracticeAccount], api_key: str) -> PracticeAccount:
    """Return the account of a key. Raises PracticeRefusal with -2014 or -2015 without one."""
    if not _KEY.fullmatch(api_key):
        raise PracticeRefusal(-2014, "API-key format invalid.", status=401)
    account = accounts.get(api_key)
    if account is None:
        raise PracticeRefusal(-2015, "Invalid API-key, IP, or permissions for action.", status=401)
    return account


def check_signature(account: PracticeAccount, text: bytes, signature: str) -> None:
    """Raise PracticeRefusal with -1022 where the account did not sign the text.

    The signature is in hexadecimal digits of either case.
    """
    expected = hmac.new(account.secret.encode(), text, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, signature.lower()):
        raise PracticeRefusal(-1022, "Signature for this request is not valid.")


def check_time(time_of_venue: VenueTime, parameters: Parameters) -> None:
    """Raise PracticeRefusal with -1021 or -1131 where a request is too old or ahead of the time."""
    timestamp = int(parameters["timestamp"])
    window = Decimal(parameters.get("recvWindow", _DEFAULT_WINDOW_MS))
    if window > _MAX_WINDOW_MS:
        raise PracticeRefusal(-1131, "recvWindow must be less than 60000")
    if time_of_venue.accepts(timestamp, window, _AHEAD_MS):
        return
    if timestamp >= max(time_of_venue.now_ms(), time_of_venue.machine_now_ms()) + _AHEAD_MS:
        raise PracticeRefusal(
            -1021, "Timestamp for this request was 1000ms ahead of the server's time."
        )
    raise PracticeRefusal(-1021, "Timestamp for this request is outside of the recvWindow.")
