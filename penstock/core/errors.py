"""The one error tree. A message names the rule, the value seen and the likely cause or remedy.

What to do about an error (retry, alert, stop) is decided where it is caught; this file only names
what went wrong.
"""


class PenstockError(Exception):
    """Anything Penstock raises on purpose. The command line prints it as one sentence and exits
    with 1.
    """


class ConfigError(PenstockError):
    """A configuration file or environment variable holds a value that is not allowed."""


class MissingExtraError(PenstockError):
    """A library is not installed that comes with an extra. The message has the command."""


class DataError(PenstockError):
    """Market data is missing, malformed, or broke a rule that stops its symbol."""


class StaleDataError(DataError):
    """The newest stored bar is older than the slot needs."""


class StoreError(PenstockError):
    """The database cannot be reached, or refused what was asked of it."""


class StaleLeaseError(StoreError):
    """A write carried a fencing token that a later lease has replaced: another process is now the
    writer.
    """


class IllegalTransitionError(PenstockError):
    """An order event that is not legal in the order's present state. It is recorded before this is
    raised.
    """


class RiskError(PenstockError):
    """Trading was refused by the kill switch or by a rule that stops the whole account."""


class PromotionError(PenstockError):
    """A model version cannot be registered, promoted, loaded or rolled back."""


class StrategyError(PenstockError):
    """A strategy broke its contract: unknown name, bad parameters, or weights of the wrong shape."""


class SearchError(PenstockError):
    """A parameter search could not be run or gave no candidate."""


class VenueError(PenstockError):
    """A venue could not be used. Subclasses say whether the venue itself has spoken."""


class VenueUnavailableError(VenueError):
    """No usable answer (time-out, reset, 5xx, nonsense). A request that changes state is then
    UNKNOWN, never failed.
    """


class RateLimitedError(VenueUnavailableError):
    """The venue asked us to slow down (429 or 418). `retry_after_seconds` is its own figure, or
    None.
    """

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class NotSentError(VenueError):
    """Refused on this machine before anything was sent: the venue has never heard of the request.

    Sending the same again would be refused again.
    """


class VenueRejectedError(VenueError):
    """The venue's own word that it refused the request: nothing was changed there. `code` is the
    venue's code.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class InsufficientFundsError(VenueRejectedError):
    """The venue refused an order for lack of free balance."""


class DuplicateOrderError(VenueRejectedError):
    """The venue already has an order with this client order id: ask for it instead of sending
    again.
    """


class OrderNotFoundError(VenueRejectedError):
    """The venue's own word that it has no such order (it may still become visible within the
    venue's delay).
    """


class UnknownSymbolError(VenueError):
    """The venue does not list this symbol."""
