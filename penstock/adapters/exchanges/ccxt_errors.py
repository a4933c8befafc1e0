"""How ccxt's errors become Penstock's: by whether the venue itself has answered.

- Without a whole answer, with a 5xx or with nonsense it is VenueUnavailableError: the state at the
  venue is unknown.
- A complete answer under 500 that ccxt reads as a refusal is VenueRejectedError.
- What ccxt refuses before anything was sent is NotSentError.
- RateLimitedError needs the venue's own answer, because an order may be sent again after it. ccxt's
  error class "rate limit" is not enough.
"""

import re

import ccxt

from penstock.adapters.exchanges.venue_session import LastAnswer
from penstock.core.errors import (
    DuplicateOrderError,
    InsufficientFundsError,
    NotSentError,
    OrderNotFoundError,
    RateLimitedError,
    UnknownSymbolError,
    VenueError,
    VenueRejectedError,
    VenueUnavailableError,
)

#: What the code that reads an answer raises where the answer has a wrong shape.
NONSENSE = (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError)

_CODE = re.compile(r'"(?:code|retCode|sCode)"\s*:\s*"?(-?\d+)')
_QUERY = re.compile(r"\?\S+")
_REFUSALS = (
    (ccxt.OrderNotFound, OrderNotFoundError),
    (ccxt.InsufficientFunds, InsufficientFundsError),
)
#: Codes by which a venue says that it does not know what became of the request. ccxt's class for
#: them does not count.
_UNSURE = frozenset(
    {
        # Binance: unknown error, disconnected, status unknown, busy
        *("-1000", "-1001", "-1006", "-1007", "-1008"),
        # Bybit: server timeout, internal error, network error
        *("10000", "10016", "170001", "170007", "170032"),
    }
)
#: How venues say that an id is taken, where ccxt has no class for it; the second is WhiteBIT's.
_DUPLICATE = ("duplicate order", "client order id is already used")
_REFUSED_KEYS = {
    "-1021": "the request's timestamp is outside the venue's window: "
    "set this machine's clock (NTP)",
    "-1022": "the signature is wrong: check the API secret",
    "-2014": "the API key is malformed: check the API key",
    "-2015": "the venue refuses the API key: "
    "check the key, its permissions and its allowed addresses",
}


def translate(error: Exception, answer: LastAnswer, call: str) -> VenueError:
    """Return the Penstock error for what ccxt raised during `call`."""
    text = _QUERY.sub("", str(error))[:500]
    message = f"{call}: {text}"
    found = _CODE.search(text)
    code = "" if found is None else found.group(1)
    if answer.sent and (answer.status is None or answer.status >= 500 or answer.status == 408):
        return VenueUnavailableError(f"{message} ({_lack(answer)}: what it did is unknown)")
    if answer.status in (418, 429):
        return RateLimitedError(f"{message} (the venue asks to slow down)", answer.retry_after)
    if answer.sent and code in _UNSURE:
        return VenueUnavailableError(f"{message} (the venue itself does not know what it did)")
    if isinstance(error, (ccxt.RateLimitExceeded, ccxt.DDoSProtection)):
        whose = (
            "the venue asks to slow down" if answer.sent else "ccxt's own limit: nothing was sent"
        )
        return RateLimitedError(f"{message} ({whose})", answer.retry_after)
    if code in _REFUSED_KEYS:
        return VenueRejectedError(f"{message} ({_REFUSED_KEYS[code]})", code)
    return _refusal(error, answer, text, message, code)


def _refusal(
    error: Exception, answer: LastAnswer, text: str, message: str, code: str
) -> VenueError:
    """Return the error for a whole answer under 500, or for what ccxt refused before sending."""
    if isinstance(error, ccxt.DuplicateOrderId) or any(
        words in text.lower() for words in _DUPLICATE
    ):
        return DuplicateOrderError(message, code)
    if isinstance(error, (ccxt.OperationFailed, *NONSENSE)):
        return VenueUnavailableError(f"{message} (no usable answer: {type(error).__name__})")
    if isinstance(error, ccxt.BadSymbol):
        return UnknownSymbolError(message)
    if not answer.sent:
        return NotSentError(f"{message} (refused by ccxt: nothing was sent)")
    for known, ours in _REFUSALS:
        if isinstance(error, known):
            return ours(message, code)
    return VenueRejectedError(message, code)


def _lack(answer: LastAnswer) -> str:
    return "no answer from the venue" if answer.status is None else f"HTTP {answer.status}"
