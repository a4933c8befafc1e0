"""Faults of a venue on demand: at an exact call, or with a seeded probability.

A fault is armed by a control call or at the start. It matches calls by method and path and counts
those that it matches. At most one fault strikes a call: the first armed one that is due.
"""

import random
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class FaultKind(StrEnum):
    """What goes wrong. BEFORE kinds change nothing; AFTER kinds carry out the request first."""

    TIMEOUT_BEFORE = "timeout_before"
    """Nothing is done, and no answer comes for `seconds`."""
    TIMEOUT_AFTER = "timeout_after"
    """The request is carried out, and no answer comes for `seconds`."""
    ERROR_BEFORE = "error_before"
    """Nothing is done, and the answer is 5xx."""
    ERROR_AFTER = "error_after"
    """The request is carried out, and the answer is 5xx."""
    RESET_AFTER = "reset_after"
    """The request is carried out, and the connection ends inside the answer."""
    RATE_LIMIT = "rate_limit"
    """Nothing is done, and the answer is 429 with Retry-After."""
    BAN = "ban"
    """Nothing is done, and the answer is 418 with Retry-After."""
    MALFORMED = "malformed"
    """The request is carried out, and the answer is not JSON."""
    OTHER_ANSWER = "other_answer"
    """The request is carried out, and the answer is `body` under the status `body_status`."""
    REFUSAL = "refusal"
    """Nothing is done, and the answer is `body` under the status `body_status`."""
    SLOW = "slow"
    """The request is carried out, and the answer comes `seconds` late."""
    STALE_CANDLES = "stale_candles"
    """Klines are as they were `seconds` of venue time ago."""
    HIDDEN_TRADES = "hidden_trades"
    """myTrades lacks the trades of the last `seconds` of venue time."""
    TRUNCATED_TRADES = "truncated_trades"
    """myTrades has only the trades of the last `seconds` of venue time."""
    DOUBLED_TRADES = "doubled_trades"
    """myTrades has every trade a second time under another id."""
    FEELESS_TRADES = "feeless_trades"
    """myTrades has commissions of zero."""
    SHORT_PAGES = "short_pages"
    """myTrades has `rows` trades at most, whatever is asked for."""
    NO_STEPS = "no_steps"
    """exchangeInfo has `symbol` with an empty tick size and step."""
    HIDDEN_ORDER = "hidden_order"
    """Queries do not find an accepted order for `seconds` of real time."""


class Fault(BaseModel):
    """One armed fault. By default it strikes every matching call."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: FaultKind
    """What goes wrong."""
    method: str = ""
    """Strike only calls of this HTTP method; empty for all."""
    path: str = "/api/"
    """Strike calls whose path begins with this."""
    nth: tuple[int, ...] = ()
    """Strike only these matching calls, counted from 1; empty for all."""
    probability: float = Field(1.0, ge=0, le=1)
    """The probability that it strikes a matching call."""
    seed: int = 0
    """The seed of the random numbers that decide it."""
    times: int | None = Field(None, ge=1)
    """How many calls it strikes at most; None for no limit."""
    seconds: float = Field(30.0, ge=0)
    """FaultKind says what it means."""
    hides_seconds: float = Field(0.0, ge=0)
    """Queries do not find an order accepted under the fault for this many seconds of venue time."""
    status: int = Field(503, ge=500, le=599)
    """The HTTP status of the error kinds."""
    body: str = "{}"
    """The answer of OTHER_ANSWER and REFUSAL."""
    body_status: int = Field(200, ge=200, le=599)
    """Their HTTP status."""
    rows: int = Field(1, ge=1)
    """The most rows of a short page."""
    symbol: str = ""
    """Change only what concerns this symbol ("ETHUSDT"); empty for all."""


@dataclass
class _Armed:
    """A fault with its counters."""

    fault: Fault
    calls: int = 0
    struck: int = 0
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.fault.seed)

    def strikes(self, method: str, path: str) -> bool:
        fault = self.fault
        if (fault.method and fault.method != method) or not path.startswith(fault.path):
            return False
        self.calls += 1
        # drawn for every matching call, so that a seed fixes which calls are struck
        drawn = self.chance.random()
        if fault.times is not None and self.struck >= fault.times:
            return False
        if (fault.nth and self.calls not in fault.nth) or drawn >= fault.probability:
            return False
        self.struck += 1
        return True


class Faults:
    """The armed faults, in the order they were armed."""

    def __init__(self, faults: tuple[Fault, ...] = ()) -> None:
        self._armed = [_Armed(fault) for fault in faults]

    def arm(self, fault: Fault) -> None:
        """Add a fault."""
        self._armed.append(_Armed(fault))

    def clear(self) -> None:
        """Disarm all."""
        self._armed.clear()

    def draw(self, method: str, path: str) -> Fault | None:
        """Return the fault that strikes this call, or None."""
        struck = [armed.fault for armed in self._armed if armed.strikes(method, path)]
        return struck[0] if struck else None

    def report(self) -> list[dict[str, object]]:
        """Return every armed fault with the calls it matched and struck."""
        return [
            {**armed.fault.model_dump(mode="json"), "calls": armed.calls, "struck": armed.struck}
            for armed in self._armed
        ]
