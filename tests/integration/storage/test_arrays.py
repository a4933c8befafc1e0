"""Arrays as the ledger writes them: PostgreSQL reads back every value as it was."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from zoneinfo import ZoneInfo

import pytest

from penstock.adapters.stores.postgres.columns import Columns, transposed
from tests.servers import DatabaseServers


class Kind(Enum):
    """A word that is stored."""

    ODD = 'a "quoted" \\word, {with} all'


@dataclass(frozen=True)
class Row:
    """One field of each type that a column may have."""

    text: str
    number: int
    share: float
    flag: bool
    amount: Decimal
    at: datetime
    took: timedelta
    kind: Kind | None


ROWS = [
    Row(
        'a, "b" \\ {c} NULL\n\t\'é',
        -1,
        0.1,
        True,
        Decimal("1E-18"),
        datetime(2024, 3, 1, 0, 0, 0, 1, UTC),
        timedelta(days=-1, microseconds=3),
        Kind.ODD,
    ),
    Row(
        "",
        2**31 - 1,
        1e-300,
        False,
        Decimal("12345678901234567890.123456789000"),
        datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Asia/Kolkata")),
        timedelta(0),
        None,
    ),
    Row(
        "NULL",
        0,
        -1e300,
        True,
        Decimal("-0.00"),
        datetime(1, 1, 2, tzinfo=UTC),
        timedelta(days=400, seconds=86399),
        Kind.ODD,
    ),
]


def test_every_value_comes_back_as_it_was(servers: DatabaseServers) -> None:
    """Quotes, backslashes, braces, empty text, the text NULL, exponents and zones change nothing.
    A number keeps its digits.
    """
    columns = Columns(Row)
    names = columns.listed()
    with servers.opened() as (_, database), database.transaction() as connection:
        found = connection.execute(
            f"SELECT {names} FROM unnest({columns.arrays}) AS row ({names})".encode(),  # noqa: S608 - our own names
            transposed([columns.row(row) for row in ROWS]),
        ).fetchall()
    back = [columns.value(row) for row in found]
    assert back == ROWS
    assert [f"{row.amount:f}" for row in back[:2]] == [f"{row.amount:f}" for row in ROWS[:2]]


def test_what_is_no_element_is_refused() -> None:
    """A value that has no text form of ours is an error, and not a guess."""
    with pytest.raises(TypeError, match="no element of an array"):
        transposed([({"a": 1},)])
