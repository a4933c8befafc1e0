"""The errors of the practice exchange, with Binance's codes and messages."""

from typing import Any

from penstock.core.errors import PenstockError


class PracticeRefusal(PenstockError):
    """A request that the practice exchange refuses.

    `code` and `message` are Binance's. `status` is the HTTP status. `retry_after` is the header in
    seconds; None sends none. `data` is what the answer has beside code and message, None for
    nothing. `counts_order` says that it counts against the orders of the account all the same.
    """

    def __init__(
        self,
        code: int,
        message: str,
        status: int = 400,
        retry_after: int | None = None,
        data: Any = None,
        counts_order: bool = False,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.retry_after = retry_after
        self.data = data
        self.counts_order = counts_order

    @property
    def body(self) -> dict[str, Any]:
        """The answer."""
        body = {"code": self.code, "msg": self.message}
        return body if self.data is None else {**body, "data": self.data}


def missing_parameter(name: str) -> PracticeRefusal:
    return PracticeRefusal(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def missing_either(one: str, other: str) -> PracticeRefusal:
    return PracticeRefusal(
        -1102, f"Param '{one}' or '{other}' must be sent, but both were empty/null!"
    )


def illegal_parameter(name: str, legal: str = "") -> PracticeRefusal:
    end = f"; legal range is '{legal}'" if legal else ""
    return PracticeRefusal(-1100, f"Illegal characters found in parameter '{name}'{end}.")


def empty_parameter(name: str) -> PracticeRefusal:
    return PracticeRefusal(-1105, f"Parameter '{name}' was empty.")


def overflowed_parameter(name: str) -> PracticeRefusal:
    return PracticeRefusal(-1108, f"Parameter '{name}' overflowed.")


def invalid_parameter(name: str) -> PracticeRefusal:
    return PracticeRefusal(-1130, f"Data sent for parameter '{name}' is not valid.")


def bad_combination() -> PracticeRefusal:
    return PracticeRefusal(-1128, "Combination of optional parameters invalid.")


def unread_parameters(read: int, sent: int) -> PracticeRefusal:
    return PracticeRefusal(
        -1104,
        f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'.",
    )


def unneeded_parameter(name: str) -> PracticeRefusal:
    return PracticeRefusal(-1106, f"Parameter '{name}' sent when not required.")


def unsupported(what: str) -> PracticeRefusal:
    """Return the refusal of orders that a symbol does not take, as "Iceberg orders"."""
    return PracticeRefusal(-1013, f"{what} are not supported for this symbol.")


def invalid_symbol() -> PracticeRefusal:
    return PracticeRefusal(-1121, "Invalid symbol.")


def insufficient_balance() -> PracticeRefusal:
    return PracticeRefusal(-2010, "Account has insufficient balance for requested action.")


def filter_failure(name: str) -> PracticeRefusal:
    return PracticeRefusal(-1013, f"Filter failure: {name}")
