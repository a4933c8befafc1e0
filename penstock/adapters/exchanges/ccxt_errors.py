"""How ccxt's errors become Penstock's: by what the venue itself has answered.

- Without a whole answer, with a 5xx or with nonsense it is VenueUnavailableError: the state at the
  venue is unknown.
- A whole answer under 500 means what the venue's table says of its code (refusals.py). A code that
  the table lacks is VenueUnavailableError too.
- What ccxt refuses before anything was sent is NotSentError.
- RateLimitedError needs the venue's own answer, because an order may be sent again after it.

A venue without a table is only read. There ccxt's class decides.
"""

import re

import ccxt

from penstock.adapters.exchanges.refusals import Meaning, RefusalTable
from penstock.adapters.exchanges.venue_session import LastAnswer
from penstock.core.errors import (
    DuplicateOrderError,
    InsufficientFundsError,
    NotSentError,
    OrderNotFoundError,
    PracticeExchangeDownError,
    RateLimitedError,
    UnknownSymbolError,
    VenueError,
    VenueRejectedError,
    VenueUnavailableError,
)

#: What the code that reads an answer raises where the answer has a wrong shape.
NONSENSE = (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError)

_SLOW_DOWN = (418, 429)
_QUERY = re.compile(r"\?\S+")
_SERVER = re.compile(r"https?://[^/\s]+")
#: What a code means where the practice exchange answers in Binance's place.
_AT_PRACTICE = {
    "-1021": "the practice exchange's clock went on meanwhile: it is not this machine's",
    "-2015": "the practice exchange was started from another home folder, or without this account",
}
_REFUSALS = {
    Meaning.REFUSED: VenueRejectedError,
    Meaning.NO_FUNDS: InsufficientFundsError,
    Meaning.DUPLICATE: DuplicateOrderError,
    Meaning.NOT_FOUND: OrderNotFoundError,
    Meaning.ENDED: VenueRejectedError,
}


def translate(
    error: Exception, answer: LastAnswer, call: str, table: RefusalTable | None
) -> VenueError:
    """Return the Penstock error for what ccxt raised during `call`."""
    text = _QUERY.sub("", str(error))
    if answer.led_to:  # ccxt names the venue's own server, which was not asked
        text = _SERVER.sub(answer.led_to, text)
    if answer.led_to and answer.unreached:
        return PracticeExchangeDownError(answer.led_to, call)
    message = f"{call}: {text[:500]}"
    if answer.sent and (answer.status is None or answer.status >= 500 or answer.status == 408):
        return VenueUnavailableError(f"{message} ({_lack(answer)}: what it did is unknown)")
    if answer.sent and table is not None:
        if isinstance(error, NONSENSE) and answer.status not in _SLOW_DOWN:
            return _nonsense(error, message)
        return refusal(*table.of_body(answer.body), message, answer, table)
    return _by_class(error, answer, message)


def refusal(
    code: str, meaning: Meaning | None, message: str, answer: LastAnswer, table: RefusalTable
) -> VenueError:
    """Return the error for a refusal in a whole answer under 500."""
    slow_down = answer.status in _SLOW_DOWN and meaning is None
    if slow_down or meaning is Meaning.RATE:
        return RateLimitedError(f"{message} (the venue asks to slow down)", answer.retry_after)
    if meaning is None:
        return VenueUnavailableError(
            f"{message} (the table of refusals has no '{code}': what it did is unknown)"
        )
    if meaning is Meaning.UNKNOWN:
        return VenueUnavailableError(f"{message} (the venue itself does not know what it did)")
    if meaning is Meaning.NO_SYMBOL:
        return UnknownSymbolError(message)
    hints = {**table.hints, **(_AT_PRACTICE if answer.led_to else {})}
    hint = f" ({hints[code]})" if code in hints else ""
    return _REFUSALS[meaning](f"{message}{hint}", code)


def _by_class(error: Exception, answer: LastAnswer, message: str) -> VenueError:
    """Return the error for what was not sent, or for the answer of a venue that is only read."""
    if answer.status in _SLOW_DOWN:
        return RateLimitedError(f"{message} (the venue asks to slow down)", answer.retry_after)
    if isinstance(error, (ccxt.RateLimitExceeded, ccxt.DDoSProtection)):
        whose = (
            "the venue asks to slow down" if answer.sent else "ccxt's own limit: nothing was sent"
        )
        return RateLimitedError(f"{message} ({whose})", answer.retry_after)
    if isinstance(error, (ccxt.OperationFailed, *NONSENSE)):
        return _nonsense(error, message)
    if isinstance(error, ccxt.BadSymbol):
        return UnknownSymbolError(message)
    if not answer.sent:
        return NotSentError(f"{message} (refused by ccxt: nothing was sent)")
    return VenueRejectedError(message)


def _nonsense(error: Exception, message: str) -> VenueError:
    return VenueUnavailableError(f"{message} (no usable answer: {type(error).__name__})")


def _lack(answer: LastAnswer) -> str:
    return "no answer from the venue" if answer.status is None else f"HTTP {answer.status}"
