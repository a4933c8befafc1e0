"""The exchange's own ledger: every order state, trade and balance change, in the order they
happened.

It is kept apart from Penstock's ledger so that the two can be compared. With a file, one line of
JSON holds everything that one request changed, written at once: a restart reads the file back and
loses nothing that a client was told; a torn last line belongs to a request that was never answered
and is dropped. The file holds the practice accounts' secrets.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from penstock.core.errors import DataError
from penstock.practice.accounts import Account, Order, PracticeOrderStatus, Trade

#: A journal entry: its kind, the account, and plain JSON values. Decimals are written as text.
Entry = dict[str, Any]


class Journal:
    """Append-only entries, in memory and, with `path`, in a file."""

    def __init__(self, path: Path | None = None) -> None:
        self.entries: list[Entry] = []
        self._pending: list[Entry] = []
        self._file: IO[bytes] | None = None
        if path is not None:
            self.entries.extend(_read(path))
            self._file = _open_for_append(path)

    def add(self, kind: str, account: str, at_ms: int, values: dict[str, Any]) -> None:
        """Note an entry; it becomes durable with `commit`."""
        entry = {
            "seq": len(self.entries) + 1,
            "kind": kind,
            "account": account,
            "at": at_ms,
            **values,
        }
        self.entries.append(entry)
        self._pending.append(entry)

    def order(self, account: str, at_ms: int, order: Order) -> None:
        """Note an order's present state."""
        self.add("order", account, at_ms, {"order": _plain(order)})

    def trade(self, account: str, at_ms: int, trade: Trade) -> None:
        """Note a trade."""
        self.add("trade", account, at_ms, {"trade": _plain(trade)})

    def balance(
        self, account: Account, at_ms: int, asset: str, change: Decimal, reason: str
    ) -> None:
        """Note a balance after a change of its total by `change`."""
        held = account.balances.of(asset)
        values = {
            "asset": asset,
            "change": str(change),
            "free": str(held.free),
            "locked": str(held.locked),
            "reason": reason,
        }
        self.add("balance", account.api_key, at_ms, values)

    def commit(self) -> None:
        """Write what was noted since the last commit as one line."""
        if self._file is not None and self._pending:
            self._file.write(json.dumps(self._pending, separators=(",", ":")).encode() + b"\n")
        self._pending.clear()

    def public(self) -> Iterator[Entry]:
        """Yield the entries without the accounts' secrets."""
        for entry in self.entries:
            yield {key: value for key, value in entry.items() if key != "secret"}


def _open_for_append(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    return os.fdopen(descriptor, "ab", buffering=0)


def _read(path: Path) -> list[Entry]:
    """Return the file's entries, cutting off a torn last line."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    entries: list[Entry] = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            entries.extend(json.loads(line))
        except ValueError as error:
            raise DataError(
                f"{path}, line {number}: not a practice journal ({error}); give another file"
            ) from None
    return entries


def _plain(record: Order | Trade) -> dict[str, Any]:
    return {
        field.name: str(value)
        if isinstance(value := getattr(record, field.name), Decimal)
        else value
        for field in fields(record)
        if field.name not in ("hidden_until", "hidden_until_ms")
    }


def order_from(values: dict[str, Any]) -> Order:
    """Return the order of a journal entry's `order`."""
    decimals = {
        name: Decimal(values[name])
        for name in ("quantity", "price", "executed", "executed_quote", "locked")
    }
    return Order(**{**values, **decimals, "status": PracticeOrderStatus(values["status"])})


def trade_from(values: dict[str, Any]) -> Trade:
    """Return the trade of a journal entry's `trade`."""
    return Trade(
        **{
            **values,
            **{name: Decimal(values[name]) for name in ("price", "quantity", "commission")},
        }
    )
