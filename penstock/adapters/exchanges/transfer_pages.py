"""How each venue lists an account's deposits and withdrawals in pages: all from an instant on, or
an error.

ccxt's calls ask once, at most venues for the newest hundred or fewer, and at Bybit for 30 days. So
the venue's own answer is read here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import Any

from penstock.adapters.exchanges.answers import list_in
from penstock.adapters.exchanges.venue_families import family_of
from penstock.core.errors import ConfigError, VenueRejectedError, VenueUnavailableError
from penstock.core.transfers import Transfer

#: A row of the venue's list.
Row = Mapping[str, Any]
#: The parameters of one request.
Where = Mapping[str, Any]
#: What tells one transfer from another.
Name = tuple[Any, ...]
#: Transfers by name; None is one that is not completed.
Transfers = dict[Name, Transfer | None]
#: Transfers, and the parameters for further ones; None where there are none.
Page = tuple[Transfers, Where | None]
#: The same with the venue's rows.
Rows = tuple[list[Row], Where | None]

_DAY = 86_400_000
#: Binance shows 90 days at most.
_BINANCE_WINDOW = 90 * _DAY
_BINANCE_PAGE = 1000
#: Bybit shows 30 days at most.
_BYBIT_WINDOW = 29 * _DAY
_BYBIT_PAGE = 50
_OKX_PAGE = 100
_WHITEBIT_PAGE = 100
#: After so many pages the reading fails.
_MOST_PAGES = 1000


class Direction(StrEnum):
    """Which way an asset moved."""

    IN = "deposit"
    OUT = "withdrawal"


@dataclass(frozen=True)
class TransferPager:
    """How one venue lists transfers."""

    windows: Callable[[int, int], list[Where]]
    """Cuts the time from `since` to now (milliseconds) into what may be asked for at once."""
    page: Callable[[Any, Direction, Where], Rows]
    """Reads one page."""
    named_by: tuple[str, ...]
    """The fields that together tell one transfer from another, and never change. Rows have some of
    them. A transfer that comes meanwhile shows another one twice.
    """

    def transfers(
        self,
        read: Callable[[Callable[[], Page]], Page],
        client: Any,
        direction: Direction,
        since: int,
    ) -> list[Transfer]:
        """Return the completed transfers from `since` (milliseconds) on, each once.

        `read` puts one question to the venue. Raises VenueUnavailableError where the venue shows
        the same page again: whether there are more is then unknown.
        """
        found: Transfers = {}
        for window in self.windows(since, int(client.milliseconds())):
            for transfers in self._pages(
                lambda where: read(partial(self._read, client, direction, where)),
                window,
                client.id,
            ):
                found |= transfers
        start = datetime.fromtimestamp(since / 1000, UTC)
        return [each for each in found.values() if each is not None and each.at >= start]

    def _read(self, client: Any, direction: Direction, where: Where) -> Page:
        rows, further = self.page(client, direction, where)
        return {self._name(row): _transfer(client, direction, row) for row in rows}, further

    def _pages(
        self, ask: Callable[[Where], Page], window: Where, venue: str
    ) -> Iterator[Transfers]:
        """Yield the pages of one window until the venue has no further one."""
        where, seen = window, set[Name]()
        for _ in range(_MOST_PAGES):
            transfers, further = ask(where)
            yield transfers
            if further is None:
                return
            if (transfers and transfers.keys() <= seen) or further == where:
                raise VenueUnavailableError(
                    f"{venue} lists the same transfers again for {dict(where)}: "
                    "others are not shown"
                )
            where, seen = further, seen | transfers.keys()
        raise VenueUnavailableError(
            f"{venue} has no end of transfers after {_MOST_PAGES} pages from {dict(window)}"
        )

    def _name(self, row: Row) -> Name:
        name = tuple(row.get(field) for field in self.named_by)
        if not any(name):
            raise ValueError(f"a transfer without {' or '.join(self.named_by)}: {dict(row)}")
        return name


def _transfer(client: Any, direction: Direction, row: Row) -> Transfer | None:
    """Return a deposit, or a withdrawal with its fee; None where it is not completed.

    Raises ValueError or ArithmeticError where the row lacks asset, quantity or time.
    """
    parsed = client.parse_transaction({**row, "type": direction.value})
    if parsed["status"] != "ok":
        return None
    quantity = Decimal(str(parsed["amount"]))
    if not parsed["currency"] or not quantity.is_finite() or parsed["timestamp"] is None:
        raise ValueError(f"a {direction} that lacks its asset, quantity or time: {dict(row)}")
    if direction is Direction.OUT:
        quantity = -(quantity + Decimal(str((parsed.get("fee") or {}).get("cost") or 0)))
    at = datetime.fromtimestamp(int(parsed["timestamp"]) / 1000, UTC)
    return Transfer(str(parsed["currency"]), quantity, at)


def _binance_windows(since: int, _now: int) -> list[Where]:
    return [{"startTime": since, "endTime": since + _BINANCE_WINDOW, "offset": 0}]


def _binance_page(client: Any, direction: Direction, where: Where) -> Rows:
    """Return up to 1,000 transfers after the first `offset`. Only an empty page is the end."""
    ask = (
        client.sapiGetCapitalDepositHisrec
        if direction is Direction.IN
        else client.sapiGetCapitalWithdrawHistory
    )
    rows = list_in(ask({**where, "limit": _BINANCE_PAGE}))
    return rows, {**where, "offset": where["offset"] + len(rows)} if rows else None


def _bybit_windows(since: int, now: int) -> list[Where]:
    """Return windows of 29 days. The last has no end, and so reaches beyond now by any clock."""
    starts = range(since, max(now, since + 1), _BYBIT_WINDOW)
    bounded = [{"startTime": at, "endTime": at + _BYBIT_WINDOW - 1} for at in starts[:-1]]
    return [*bounded, {"startTime": starts[-1]}]


def _bybit_page(client: Any, direction: Direction, where: Where) -> Rows:
    """Return up to 50 transfers and the cursor to further ones."""
    ask = (
        client.privateGetV5AssetDepositQueryRecord
        if direction is Direction.IN
        else client.privateGetV5AssetWithdrawQueryRecord
    )
    answer = ask({"limit": _BYBIT_PAGE, **where})
    rows, cursor = list_in(answer, "result", "rows"), answer["result"]["nextPageCursor"]
    return rows, {**where, "cursor": cursor} if cursor else None


def _okx_page(client: Any, direction: Direction, where: Where) -> Rows:
    """Return up to 100 transfers from before the time `after`, newest first.

    The next page is asked for with those of the oldest instant in it, for others may share it.
    """
    ask = (
        client.privateGetAssetDepositHistory
        if direction is Direction.IN
        else client.privateGetAssetWithdrawalHistory
    )
    asked = {name: value for name, value in where.items() if name != "since"}
    rows = list_in(ask({"limit": _OKX_PAGE, **asked}), "data")
    if not rows:
        return rows, None
    oldest = min(int(row["ts"]) for row in rows)
    further = {**where, "after": str(oldest + 1)}
    if further == where and len(rows) < _OKX_PAGE:
        return rows, None
    return rows, None if oldest < where["since"] else further


def _kraken_page(client: Any, direction: Direction, where: Where) -> Rows:
    """Return a page of transfers, and the cursor to further ones."""
    ask = (
        client.privatePostDepositStatus
        if direction is Direction.IN
        else client.privatePostWithdrawStatus
    )
    result = ask(dict(where))["result"]
    if isinstance(result, list):
        raise VenueRejectedError(f"{client.id} lists {direction}s without pages: {len(result)}")
    (rows,) = (value for value in result.values() if isinstance(value, list))
    cursor = result.get("next_cursor")
    return rows, {**where, "cursor": cursor} if cursor else None


def _whitebit_page(client: Any, direction: Direction, where: Where) -> Rows:
    """Return up to 100 transfers after the first `offset`. Only an empty page is the end."""
    method = 1 if direction is Direction.IN else 2
    answer = client.v4PrivatePostMainAccountHistory(
        {"transactionMethod": method, "limit": _WHITEBIT_PAGE, **where}
    )
    rows = list_in(answer, "records")
    return rows, {"offset": where["offset"] + len(rows)} if rows else None


_BINANCE = TransferPager(
    _binance_windows, _binance_page, ("id", "txId", "coin", "amount", "insertTime", "applyTime")
)
_BYBIT = TransferPager(
    _bybit_windows, _bybit_page, ("withdrawId", "id", "txID", "txIndex", "coin", "amount")
)
_OKX = TransferPager(lambda since, _: [{"since": since}], _okx_page, ("depId", "wdId"))
#: `start` is in seconds.
_KRAKEN = TransferPager(
    lambda since, _: [{"start": since // 1000 - 1, "cursor": "true"}], _kraken_page, ("refid",)
)
_WHITEBIT = TransferPager(
    lambda _, __: [{"offset": 0}],
    _whitebit_page,
    ("transactionId", "uniqueId", "createdAt", "ticker", "amount"),
)

_PAGERS: Mapping[str, TransferPager] = {
    "binance": _BINANCE,
    "bybit": _BYBIT,
    "okx": _OKX,
    "kraken": _KRAKEN,
    "whitebit": _WHITEBIT,
}


def transfer_pager(venue: str) -> TransferPager:
    """Return how the venue lists transfers.

    Raises ConfigError where that is not known.
    """
    if family_of(venue) not in _PAGERS:
        raise ConfigError(f"'{venue}': it is not known how it lists deposits and withdrawals")
    return _PAGERS[family_of(venue)]
