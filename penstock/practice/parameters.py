"""What requests may carry: the kinds of parameters, and the table that each route declares.

A route reads what it declares and no more. Everything else is refused with Binance's code: an
illegal text, an empty or missing parameter, an unknown one, a value that no enumeration has.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Generic, TypeVar

from penstock.practice.binance_errors import (
    PracticeRefusal,
    bad_combination,
    empty_parameter,
    illegal_parameter,
    invalid_parameter,
    missing_parameter,
    overflowed_parameter,
    unread_parameters,
)

#: Parameters by name, as a handler gets them: declared, legal, times in milliseconds.
Parameters = Mapping[str, str]
#: The request weight of a call; some depend on what is asked for.
Weight = int | Callable[[Parameters], int]
Handler = TypeVar("Handler")

#: A time of at least so many digits is in microseconds.
_MICROSECOND_DIGITS = 15


@dataclass(frozen=True)
class Kind:
    """What the text of a parameter may be."""

    legal: str
    """The regular expression of a legal text, as Binance's message shows it."""
    most: Decimal | None = None
    """The largest number; None where the text is none."""
    values: tuple[str, ...] = ()
    """All values that it may have; empty for any."""
    wrong: Callable[[str], PracticeRefusal] = illegal_parameter
    """The refusal of a value that is none of these, by the parameter's name."""
    empty: Callable[[str], PracticeRefusal] = empty_parameter
    """The refusal of an empty text, by the parameter's name."""
    is_time: bool = False
    """Whether it is an instant, in milliseconds or microseconds."""

    def read(self, name: str, text: str) -> str:
        """Return the text in the form that handlers read. Raises PracticeRefusal for another."""
        if not text:
            raise self.empty(name)
        if self.values:
            if text not in self.values:
                raise self.wrong(name)
            return text
        if not re.fullmatch(self.legal, text):
            raise illegal_parameter(name, self.legal)
        if self.most is not None and Decimal(text) > self.most:
            raise overflowed_parameter(name)
        if self.is_time and len(text.lstrip("0")) >= _MICROSECOND_DIGITS:
            return str(int(text) // 1000)
        return text


def _enumeration(
    code: int, message: str, *values: str, empty: Callable[[str], PracticeRefusal] = empty_parameter
) -> Kind:
    return Kind("", values=values, wrong=lambda _: PracticeRefusal(code, message), empty=empty)


def one_of(*values: str) -> Kind:
    """Return an enumeration for whose wrong values Binance has no code of its own."""
    return Kind(
        "",
        values=values,
        wrong=lambda name: PracticeRefusal(
            -1130, f"Data sent for parameter '{name}' is not valid."
        ),
    )


def _client_id(code: int, message: str) -> Kind:
    return Kind("^[a-zA-Z0-9-_]{1,36}$", empty=lambda _: PracticeRefusal(code, message))


SYMBOL = Kind("^[A-Z0-9-_.]{1,20}$")
SYMBOLS = Kind(r'^\[("[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}){0,1}\]$')
PERMISSIONS = Kind(r'^([A-Z0-9_]{1,20}|\["[A-Z0-9_]{1,20}"(,"[A-Z0-9_]{1,20}"){0,}\])$')
ASSET = Kind("^[A-Z0-9]{1,20}$")
LONG = Kind("^[0-9]{1,20}$", Decimal(2**63 - 1))
INT = Kind("^[0-9]{1,20}$", Decimal(2**31 - 1))
TIME = Kind("^[0-9]{1,20}$", Decimal(2**63 - 1), is_time=True)
#: Binance counts in units of 1e-8, in 64 bits.
DECIMAL = Kind(r"^([0-9]{1,20})(\.[0-9]{1,20})?$", Decimal("92233720368.54775807"))
WINDOW = Kind(r"^([0-9]{1,20})(\.[0-9]{1,3})?$", Decimal(2**63 - 1))
BOOLEAN = Kind("^([tT][rR][uU][eE]|[fF][aA][lL][sS][eE])$")
HEX = Kind("^[0-9a-fA-F]{1,512}$")
TEXT = Kind("^[ -~]{1,128}$")
TIME_ZONE = Kind("^[+-]?[0-9]{1,2}(:[0-9]{2})?$")
NEW_CLIENT_ID = _client_id(-1118, "New client order ID was empty.")
CLIENT_ID = _client_id(-1119, "Original client order ID was empty.")
SIDE = _enumeration(-1117, "Invalid side.", "BUY", "SELL")
ORDER_TYPE = _enumeration(
    -1116,
    "Invalid orderType.",
    "LIMIT",
    "MARKET",
    "STOP_LOSS",
    "STOP_LOSS_LIMIT",
    "TAKE_PROFIT",
    "TAKE_PROFIT_LIMIT",
    "LIMIT_MAKER",
)
TIME_IN_FORCE = _enumeration(-1115, "Invalid timeInForce.", "GTC", "IOC", "FOK")
CANCEL_RESTRICTIONS = _enumeration(
    -1145, "Invalid cancelRestrictions", "ONLY_NEW", "ONLY_PARTIALLY_FILLED"
)
SYMBOL_STATUS = _enumeration(-1122, "Invalid symbolStatus.", "TRADING", "HALT", "BREAK")
TICKER_TYPE = _enumeration(-1139, "Invalid ticker type.", "FULL", "MINI")
RESPONSE_TYPE = _enumeration(-1136, "Invalid newOrderRespType.", "ACK", "RESULT", "FULL")
STP_MODE = one_of("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER")
PEG_PRICE_TYPE = _enumeration(-1210, "Invalid pegPriceType.", "PRIMARY_PEG", "MARKET_PEG")
PEG_OFFSET_TYPE = _enumeration(-1211, "Invalid pegOffsetType.", "PRICE_LEVEL")
LISTEN_KEY = Kind("^[a-zA-Z0-9]{1,64}$")
WINDOW_SIZE = one_of(
    *(f"{size}m" for size in range(1, 60)),
    *(f"{size}h" for size in range(1, 24)),
    *(f"{size}d" for size in range(1, 8)),
)
#: Which intervals there are is the handler's to say (-1120).
INTERVAL = Kind("^[0-9a-zA-Z]{1,10}$")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a route."""

    name: str
    """Its name on the wire."""
    kind: Kind
    """What its text may be."""
    is_mandatory: bool = False
    """Whether a request without it is refused."""


def needs(name: str, kind: Kind) -> Parameter:
    """Return a parameter that a request must have."""
    return Parameter(name, kind, is_mandatory=True)


def may(name: str, kind: Kind) -> Parameter:
    """Return a parameter that a request may have."""
    return Parameter(name, kind)


#: What every signed request carries beside its own parameters.
SIGNED = (may("recvWindow", WINDOW), needs("timestamp", TIME), needs("signature", HEX))


@dataclass(frozen=True)
class Route(Generic[Handler]):
    """One call of the API: what it reads, what it costs, and who answers it."""

    method: str
    """The HTTP method."""
    path: str
    """The path, as "/api/v3/order"."""
    handler: Handler
    """What answers it."""
    reads: tuple[Parameter, ...] = ()
    """Its parameters, without those that every signed request has."""
    weight: Weight = 1
    """Its request weight, as Binance documents it."""
    is_signed: bool = False
    """Whether it needs an API key, a timestamp and a signature."""
    counts_orders: bool = False
    """Whether it counts against the orders of an account."""
    _declared: dict[str, Parameter] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        every = self.reads + (SIGNED if self.is_signed else ())
        object.__setattr__(self, "_declared", {each.name: each for each in every})

    @property
    def name(self) -> str:
        """The method and the path, as "GET /api/v3/order"."""
        return f"{self.method} {self.path}"

    def costs(self, sent: Parameters) -> int:
        """Return the request weight of a call with these parameters."""
        return self.weight if isinstance(self.weight, int) else self.weight(sent)

    def read(self, sent: Parameters, unread: int = 0) -> dict[str, str]:
        """Return the parameters in the form that the handler reads.

        `unread` counts what was sent where this call has no parameters. Raises PracticeRefusal:
        -1100, -1105, -1108 and the codes of enumerations for a text, -1102 where a mandatory
        parameter is missing, -1104 where one is not declared.
        """
        found = {
            name: parameter.kind.read(name, sent[name])
            for name, parameter in self._declared.items()
            if name in sent
        }
        for name, parameter in self._declared.items():
            if parameter.is_mandatory and name not in found:
                raise missing_parameter(name)
        if len(found) < len(sent) + unread:
            raise unread_parameters(len(found), len(sent) + unread)
        return found


def table(*routes: Route[Handler]) -> dict[str, Route[Handler]]:
    """Return routes by method and path."""
    return {route.name: route for route in routes}


def required(parameters: Parameters, name: str) -> str:
    """Return a parameter that this call needs for what else it has; -1102 where it was not sent."""
    value = parameters.get(name)
    if value is None:
        raise missing_parameter(name)
    return value


def integer(parameters: Parameters, name: str) -> int | None:
    """Return a parameter of kind LONG, INT or TIME; None where it was not sent."""
    value = parameters.get(name)
    return None if value is None else int(value)


def decimal(parameters: Parameters, name: str) -> Decimal | None:
    """Return a parameter of kind DECIMAL; None where it was not sent."""
    value = parameters.get(name)
    return None if value is None else Decimal(value)


def is_true(parameters: Parameters, name: str, default: bool) -> bool:
    """Return a parameter of kind BOOLEAN, or the default where it was not sent."""
    value = parameters.get(name)
    return default if value is None else value.lower() == "true"


#: How many rows a page has where no limit is sent, and at the most.
PAGE_DEFAULT, PAGE_MOST = 500, 1000
PERIOD = (may("startTime", TIME), may("endTime", TIME), may("limit", INT))
"""What a list by time reads."""


def page_size(parameters: Parameters, default: int = PAGE_DEFAULT, most: int = PAGE_MOST) -> int:
    """Return `limit`, at most `most`; -1130 where it is zero."""
    size = integer(parameters, "limit")
    if size == 0:
        raise invalid_parameter("limit")
    return min(default if size is None else size, most)


def symbols(parameters: Parameters) -> list[str] | None:
    """Return the names in `symbol` or `symbols`; None where neither was sent.

    Raises -1128 where both were, -1105 for an empty list, -1151 where a name is doubled.
    """
    if "symbol" in parameters and "symbols" in parameters:
        raise bad_combination()
    if "symbol" in parameters:
        return [parameters["symbol"]]
    if "symbols" not in parameters:
        return None
    names = re.findall('"([^"]+)"', parameters["symbols"])
    if not names:
        raise empty_parameter("symbols")
    if len(set(names)) < len(names):
        raise PracticeRefusal(-1151, "Symbol is present multiple times in the list.")
    return names
