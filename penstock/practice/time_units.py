"""Times of answers in microseconds, where a request's header asks for them."""

import json
from typing import Any

from penstock.practice.binance_errors import PracticeRefusal
from penstock.practice.request import Request

_FIELDS = frozenset(
    {
        "T",
        "closeTime",
        "openTime",
        "serverTime",
        "time",
        "transactTime",
        "updateTime",
        "workingTime",
    }
)
_OPEN_TIME, _CLOSE_TIME = 0, 6  # of a candle's fields


def wants_microseconds(request: Request) -> bool:
    """Return whether the header X-MBX-TIME-UNIT asks for them. Raises -1194 for another unit."""
    unit = request.headers.get(b"x-mbx-time-unit", b"MILLISECOND")
    if unit.upper() not in (b"MILLISECOND", b"MICROSECOND"):
        raise PracticeRefusal(
            -1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND."
        )
    return unit.upper() == b"MICROSECOND" and request.path.startswith("/api/")


def in_microseconds(answer: Any) -> Any:
    """Return an answer, or candles as JSON text, with every time in microseconds."""
    if isinstance(answer, bytes):
        return [_candle(row) for row in json.loads(answer)]
    if isinstance(answer, list):
        return [in_microseconds(entry) for entry in answer]
    if isinstance(answer, dict):
        return {
            name: value * 1000 if name in _FIELDS and value > 0 else in_microseconds(value)
            for name, value in answer.items()
        }
    return answer


def _candle(row: list[Any]) -> list[Any]:
    """Return a candle whose last microsecond is that before the next one's first."""
    times = {_OPEN_TIME: row[_OPEN_TIME] * 1000, _CLOSE_TIME: row[_CLOSE_TIME] * 1000 + 999}
    return [times.get(place, value) for place, value in enumerate(row)]
