"""The error tree. A message names the rule, the value seen and the likely cause or remedy."""

from collections.abc import Sequence


class PenstockError(Exception):
    """Anything that Penstock raises on purpose.

    The command line prints it as one sentence and exits with 1.
    """


class UnexpectedError(PenstockError):
    """Something was raised that is none of these errors: by a strategy, by a library, or by a fault
    of ours.

    The message has its kind, its text and the line that raised it.
    """


class ConfigError(PenstockError):
    """A configuration file or environment variable holds a value that is not allowed."""


class MissingExtraError(PenstockError):
    """A library is not installed that comes with an extra. The message has the command."""


class RealNetworkError(ConfigError):
    """A venue itself was named, where orders cost real money, without saying that it is meant."""


class NotPracticeError(ConfigError):
    """The request is possible only at the practice exchange, and another venue is configured."""


class DataError(PenstockError):
    """Market data is missing, malformed, or broke a rule that stops its symbol."""


class NoBarsError(DataError):
    """No bar of `timeframe` is stored for `exchange`."""

    def __init__(self, exchange: str, timeframe: str) -> None:
        super().__init__(exchange, timeframe)
        self.exchange = exchange
        self.timeframe = timeframe

    def __str__(self) -> str:
        return f"no {self.timeframe} bars of {self.exchange} are stored: ingest them first"


class NoSnapshotError(DataError):
    """The file of a snapshot is gone."""


class StaleDataError(DataError):
    """The newest stored bar is older than the slot needs."""


class StoreError(PenstockError):
    """The database cannot be reached, or it refused a statement."""


class StoreUnavailableError(StoreError):
    """The database is down, cannot be reached, or has no connection left."""


class SchemaError(StoreError):
    """The database's schema is not the one that this version works with, and must be migrated."""


class UnknownAccountError(StoreError):
    """The ledger has no account of this name: nobody has opened it yet."""


class StaleLeaseError(StoreError):
    """A write carried a fencing token that a later lease has replaced.

    Another process is now the writer.
    """


class IllegalTransitionError(PenstockError):
    """An order event is not legal in the order's present state.

    The event is recorded before this is raised.
    """


class RiskError(PenstockError):
    """Trading was refused by the kill switch or by a rule that stops the whole account."""


class ForeignHaltError(RiskError):
    """A halt of every account also binds accounts that another environment trades."""

    def __init__(self, accounts: Sequence[str]) -> None:
        super().__init__(
            f"the halt of every account also binds {', '.join(accounts)} of another environment: "
            "lifted, it would let them trade on, too"
        )


class PromotionError(PenstockError):
    """A model version cannot be registered, promoted, loaded or rolled back."""


class NoVersionError(PromotionError):
    """A registered model has no such version or alias."""

    def __init__(self, model: str, alias_or_version: str) -> None:
        super().__init__(model, alias_or_version)
        self.model = model
        self.alias_or_version = alias_or_version

    def __str__(self) -> str:
        return (
            f"'{self.model}' has no version or alias '{self.alias_or_version}': promote one first"
        )


class NoSearchError(PromotionError):
    """A study has no tracked search, so it has no candidate either."""

    def __init__(self, study: str) -> None:
        super().__init__(study)
        self.study = study

    def __str__(self) -> str:
        return f"study '{self.study}' has no tracked search yet: search first"


class StrategyError(PenstockError):
    """A strategy broke its contract: unknown name, bad parameters or malformed weights."""


class SearchError(PenstockError):
    """A parameter search could not be run or gave no candidate."""


class VenueError(PenstockError):
    """A venue could not be used. The subclass says whether the venue itself has answered."""


class VenueUnavailableError(VenueError):
    """The venue gave no usable answer: a time-out, a reset, a 5xx, or nonsense.

    The outcome of a request that changes state is then unknown. It must not be taken as failed.
    """


class PracticeExchangeDownError(VenueUnavailableError):
    """Nothing listens where the practice exchange should answer: no request was sent."""

    def __init__(self, address: str, wanted: str) -> None:
        super().__init__(address, wanted)
        self.address = address
        """Where it should answer."""
        self.wanted = wanted
        """What was asked of it."""

    def __str__(self) -> str:
        return (
            f"{self.wanted}: the practice exchange does not answer at {self.address}: the stack is "
            "not running and must be started first, or is just starting this part again"
        )


class RateLimitedError(VenueUnavailableError):
    """The venue asked us to slow down (429 or 418)."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        """The seconds that the venue asks us to wait; None where it did not say."""


class NotSentError(VenueError):
    """A request was refused on this machine before anything was sent.

    The venue did not see it. The same request would be refused again.
    """


class VenueRejectedError(VenueError):
    """The venue answered that it refused the request. Nothing was changed there."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code
        """The venue's own code for the refusal; "" where it gave none."""


class InsufficientFundsError(VenueRejectedError):
    """The venue refused an order for lack of free balance."""


class DuplicateOrderError(VenueRejectedError):
    """The venue already has an order with this client order id.

    The caller asks for that order and sends none again.
    """


class OrderNotFoundError(VenueRejectedError):
    """The venue answered that it has no such order.

    The order may still become visible within the venue's visibility delay.
    """


class UnknownSymbolError(VenueError):
    """The venue does not list this symbol."""
