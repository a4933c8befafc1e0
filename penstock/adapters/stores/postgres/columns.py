"""Tables as the values of penstock.core say them: the fields of a dataclass are the columns.

Names, SQL types and the conversion of values come from the dataclass. A new field needs a migration
that adds its column. The statements are all made from this list.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from functools import cached_property
from operator import attrgetter
from typing import Any, Generic, TypeVar, get_args, get_type_hints

Value = TypeVar("Value")

_TYPES = {
    str: "text",
    int: "integer",
    float: "double precision",
    bool: "boolean",
    Decimal: "numeric",
    datetime: "timestamptz",
    timedelta: "interval",
}


@dataclass(frozen=True)
class Column:
    """One column: its name, its SQL type, and the enum whose values it holds, if it holds any."""

    name: str
    sql_type: str
    enum: type[Enum] | None = None

    @cached_property
    def _members(self) -> dict[Any, Enum]:
        return {member.value: member for member in self.enum or ()}

    def read(self, stored: Any) -> Any:
        """Return a stored value as the field's."""
        if stored is None or self.enum is None:
            return stored
        found = self._members.get(stored)
        return self.enum(stored) if found is None else found  # raises ValueError

    def write(self, value: Any) -> Any:
        """Return a field's value as it is stored."""
        return value.value if isinstance(value, Enum) else value


class Columns(Generic[Value]):
    """The columns of a dataclass, in the order of its fields, but for those in `without`.

    Raises TypeError for a field whose type has no SQL type.
    """

    def __init__(self, of: type[Value], without: Sequence[str] = ()) -> None:
        self._of = of
        hints = get_type_hints(of)
        names = [field.name for field in fields(of)]  # type: ignore[arg-type] # any dataclass
        self.columns = tuple(_column(name, hints[name]) for name in names if name not in without)
        self._values = attrgetter(*self.names)
        self._enums = [(n, column) for n, column in enumerate(self.columns) if column.enum]

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def listed(self, table: str = "") -> str:
        """Return the names with commas between them, each as a column of `table`."""
        prefix = f"{table}." if table else ""
        return ", ".join(f"{prefix}{name}" for name in self.names)

    @property
    def definitions(self) -> str:
        """The columns as CREATE TABLE takes them, all of them nullable."""
        return ", ".join(f"{column.name} {column.sql_type}" for column in self.columns)

    @property
    def arrays(self) -> str:
        """A placeholder for each column's array, with its type, as unnest takes them."""
        return ", ".join(f"%s::{column.sql_type}[]" for column in self.columns)

    def assignments(self, table: str) -> str:
        """Return what UPDATE sets the columns to: those of the same names in `table`."""
        return ", ".join(f"{name} = {table}.{name}" for name in self.names)

    def row(self, value: Value) -> tuple[Any, ...]:
        """Return a value as the columns have it."""
        row = list(self._values(value))
        for place, column in self._enums:
            row[place] = column.write(row[place])
        return tuple(row)

    def read(self, row: Sequence[Any]) -> dict[str, Any]:
        """Return the fields of a row that has these columns."""
        found = dict(zip(self.names, row, strict=True))
        for _, column in self._enums:
            found[column.name] = column.read(found[column.name])
        return found

    def value(self, row: Sequence[Any], **others: Any) -> Value:
        """Return the value of a row; `others` are fields that are no columns of it."""
        return self._of(**self.read(row), **others)


def transposed(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return the columns of rows as the arrays that `Columns.arrays` has placeholders for.

    They are PostgreSQL's text form of arrays: psycopg takes twenty times as long to write it.
    """
    return [f"{{{','.join(map(_element, column))}}}" for column in zip(*rows, strict=True)]


def _element(value: Any) -> str:
    """Return a value as an element of an array, as text."""
    write = _WRITERS.get(type(value))
    if write is not None:
        return write(value)
    for kind, write in _WRITERS.items():  # a subclass, such as an enum
        if isinstance(value, kind):
            return write(value)
    raise TypeError(f"a value of type {type(value)} is no element of an array")


def _quoted(text: str) -> str:
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


#: How a value of each type is written as an element of an array.
_WRITERS: Mapping[type, Callable[[Any], str]] = {
    str: _quoted,
    Decimal: str,
    type(None): lambda _: "NULL",
    datetime: datetime.isoformat,
    int: str,
    float: str,
    bool: str,
    timedelta: lambda span: f'"{span.days} days {span.seconds}.{span.microseconds:06d} seconds"',
}


def _column(name: str, hint: Any) -> Column:
    kinds = [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]
    (kind,) = kinds
    if isinstance(kind, type) and issubclass(kind, Enum):
        return Column(name, "integer" if issubclass(kind, IntEnum) else "text", kind)
    if kind not in _TYPES:
        raise TypeError(f"field {name} of type {kind} has no SQL type: add one to _TYPES")
    return Column(name, _TYPES[kind])
