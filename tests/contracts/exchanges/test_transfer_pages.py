"""Deposits and withdrawals of all pages, by each venue's own rules for them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.core.errors import VenueUnavailableError
from tests.contracts.exchanges.constructed_venue import Said, account_at

#: Where each venue lists deposits and withdrawals.
PATHS = {
    "binance": ("/sapi/v1/capital/deposit/hisrec", "/sapi/v1/capital/withdraw/history"),
    "bybit": ("/v5/asset/deposit/query-record", "/v5/asset/withdraw/query-record"),
    "okx": ("/api/v5/asset/deposit-history", "/api/v5/asset/withdrawal-history"),
    "kraken": ("/0/private/DepositStatus", "/0/private/WithdrawStatus"),
    "whitebit": ("/api/v4/main-account/history",) * 2,
}
#: So many of a venue's answers have, whatever is asked for.
SIZES = {"binance": 1000, "bybit": 50, "okx": 100, "kraken": 40, "whitebit": 100}
DAY = 86_400_000


@dataclass
class Wallet:
    """A venue with deposits of 1 and withdrawals of 2 USDT, three of each at one instant."""

    venue: str
    deposits: int
    withdrawals: int
    stuck: bool = False
    joining: int = 0
    """So many deposits come after the first page was read."""
    exchange: CcxtExchange = field(init=False)
    now: int = field(init=False)
    asked: int = 0

    def __post_init__(self) -> None:
        self.now = time.time_ns() // 1_000_000
        self.exchange, _ = account_at(self.venue, self.answer)

    def answer(self, _method: str, path: str, fields: Mapping[str, Any]) -> Said:
        if "time" in path.lower():
            return 200, {
                "serverTime": self.now,
                "time": self.now // 1000 if self.venue == "whitebit" else self.now,
                "result": {"unixtime": self.now // 1000},
                "data": [{"ts": str(self.now)}],
                **({"code": "0"} if self.venue == "okx" else {}),
                "retCode": 0,
                "error": [],
            }
        incoming, outgoing = PATHS[self.venue]
        assert path in (incoming, outgoing)
        inwards = (
            str(fields["transactionMethod"]) == "1" if incoming == outgoing else path == incoming
        )
        found = getattr(self, self.venue)(self.rows(inwards), fields, inwards)
        self.asked += 1
        return 200, found

    def rows(self, inwards: bool) -> list[tuple[int, int]]:
        """Number and time of each, newest first. They spread over eighty days."""
        count = self.deposits if inwards else self.withdrawals
        step = 80 * DAY // max(1, count)
        old = [(n, self.now - 1000 - (n // 3) * 3 * step) for n in range(count)]
        fresh = [(-n - 1, self.now) for n in range(self.joining if inwards and self.asked else 0)]
        return [*fresh, *old]

    def page(self, rows: list[tuple[int, int]], start: int) -> list[tuple[int, int]]:
        return rows[:2] if self.stuck else rows[start : start + SIZES[self.venue]]

    def binance(self, rows: list[Any], fields: Mapping[str, Any], inwards: bool) -> Any:
        first, last = int(fields["startTime"]), int(fields["endTime"])
        assert last - first <= 90 * DAY
        rows = [each for each in rows if first <= each[1] <= last]
        return [
            {"id": str(n), "coin": "USDT", "amount": "1", "status": 1, "insertTime": at}
            if inwards
            else {
                "id": str(n),
                "coin": "USDT",
                "amount": "1.5",
                "transactionFee": "0.5",
                "status": 6,
                "applyTime": f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M:%S}",
            }
            for n, at in self.page(rows, int(fields["offset"]))
        ]

    def bybit(self, rows: list[Any], fields: Mapping[str, Any], inwards: bool) -> Any:
        first = int(fields["startTime"])
        last = int(fields.get("endTime", self.now))
        assert last - first < 30 * DAY
        assert int(fields["limit"]) <= 50
        rows = [each for each in rows if first <= each[1] <= last]
        start = int(fields.get("cursor", 0))
        shown = [
            {"txID": str(n), "coin": "USDT", "amount": "1", "status": "3", "successAt": str(at)}
            | {"depositFee": ""}
            if inwards
            else {"withdrawId": str(n), "coin": "USDT", "amount": "1.5", "status": "success"}
            | {"withdrawFee": "0.5", "createTime": str(at)}
            for n, at in self.page(rows, start)
        ]
        cursor = str(start + 50) if self.stuck or start + 50 < len(rows) else ""
        return {"retCode": 0, "result": {"rows": shown, "nextPageCursor": cursor}}

    def okx(self, rows: list[Any], fields: Mapping[str, Any], inwards: bool) -> Any:
        assert int(fields["limit"]) <= 100
        after = int(fields.get("after", self.now + DAY))
        rows = [each for each in rows if self.stuck or each[1] < after]
        shown = [
            {"depId": str(n), "ccy": "USDT", "amt": "1", "state": "2", "ts": str(at)}
            if inwards
            else {"wdId": str(n), "ccy": "USDT", "amt": "1.5", "fee": "0.5", "state": "2"}
            | {"ts": str(at)}
            for n, at in (rows[:1] * 100 if self.stuck else self.page(rows, 0))
        ]
        return {"code": "0", "data": shown}

    def kraken(self, rows: list[Any], fields: Mapping[str, Any], inwards: bool) -> Any:
        first = int(fields["start"]) * 1000
        rows = [each for each in rows if each[1] >= first]
        start = 0 if fields["cursor"] == "true" else int(fields["cursor"])
        shown = [
            {"refid": str(n), "asset": "USDT", "status": "Success", "time": at // 1000}
            | ({"amount": "1", "fee": "0"} if inwards else {"amount": "1.5", "fee": "0.5"})
            for n, at in self.page(rows, start)
        ]
        further = self.stuck or start + 40 < len(rows)
        return {
            "error": [],
            "result": {
                "deposit" if inwards else "withdrawals": shown,
                "next_cursor": str(start + 40) if further else None,
            },
        }

    def whitebit(self, rows: list[Any], fields: Mapping[str, Any], inwards: bool) -> Any:
        shown = [
            {"transactionId": str(n), "ticker": "USDT", "createdAt": at // 1000}
            | {"method": 1 if inwards else 2, "status": 3 if inwards else 7}
            | ({"amount": "1", "fee": "0"} if inwards else {"amount": "1.5", "fee": "0.5"})
            for n, at in self.page(rows, int(fields["offset"]))
        ]
        return {"limit": 100, "offset": fields["offset"], "total": len(rows), "records": shown}

    def sums(self, days: int = 88) -> tuple[int, Decimal]:
        found = self.exchange.transfers(
            datetime.fromtimestamp(self.now / 1000 - days * 86_400, UTC)
        )
        assert found is not None
        assert [each.at for each in found] == sorted(each.at for each in found)
        assert {each.asset for each in found} == {"USDT"}
        return len(found), sum((each.quantity for each in found), Decimal(0))


@pytest.mark.parametrize("venue", PATHS)
def test_every_transfer_is_read_once(venue: str) -> None:
    """More than two pages of each kind at every venue, with several transfers at one instant where
    pages end: 2,200 deposits of 1 and 430 withdrawals of 1.5 with a fee of 0.5.
    """
    assert Wallet(venue, 2200, 430).sums() == (2630, Decimal(2200 - 2 * 430))


@pytest.mark.parametrize("venue", ["binance", "okx", "whitebit"])
def test_deposit_that_comes_meanwhile_hides_and_doubles_none(venue: str) -> None:
    """Seven deposits come between two pages and move the others: the old ones are there once."""
    count, total = Wallet(venue, 2200, 0, joining=7).sums()
    assert 2200 <= count <= 2207
    assert total == count


@pytest.mark.parametrize("venue", PATHS)
def test_venue_that_shows_the_same_page_again_is_an_error(venue: str) -> None:
    """Whether there are more transfers is then unknown, and never answered as a shorter list."""
    with pytest.raises(VenueUnavailableError, match="same transfers again"):
        Wallet(venue, 300, 300, stuck=True).sums()


@pytest.mark.parametrize("venue", PATHS)
def test_transfers_from_before_are_left_out(venue: str) -> None:
    """There are two transfers per day in 80 days. Those of the last ten days count."""
    count, _ = Wallet(venue, 160, 0).sums(days=10)
    assert 18 <= count <= 24


@pytest.mark.parametrize("venue", PATHS)
@pytest.mark.parametrize("broken", [lambda _: {}, lambda _: None, lambda _: {"result": {}}])
def test_answer_without_a_list_is_no_empty_list(
    venue: str, broken: Callable[[object], object]
) -> None:
    """An answer that is not understood does not say that there were no transfers."""
    wallet = Wallet(venue, 3, 3)
    setattr(wallet, venue, lambda *_: broken(None))
    with pytest.raises(VenueUnavailableError):
        wallet.exchange.transfers(datetime.now(UTC) - timedelta(days=3))


@pytest.mark.parametrize("field", ["ccy", "amt", "ts"])
def test_transfer_that_lacks_a_part_is_an_error(field: str) -> None:
    """A completed deposit without asset, quantity or time is none that can be compared."""
    wallet = Wallet("okx", 3, 0)
    whole = wallet.okx

    def lacking(*asked: Any) -> Any:
        answer = whole(*asked)
        return {**answer, "data": [{**row, field: ""} for row in answer["data"]]}

    vars(wallet).update(okx=lacking)
    with pytest.raises(VenueUnavailableError):
        wallet.exchange.transfers(datetime.now(UTC) - timedelta(days=3))


@pytest.mark.parametrize(
    ("venue", "status", "refusal"),
    [
        ("binance", 401, {"code": -2015, "msg": "Invalid API-key, IP, or permissions."}),
        ("bybit", 200, {"retCode": 10005, "retMsg": "Permission denied", "result": {}}),
        ("okx", 401, {"code": "50120", "msg": "This API key doesn't have permission"}),
        ("okx", 200, {"code": "50038", "msg": "This feature is unavailable in demo trading"}),
        ("kraken", 200, {"error": ["EGeneral:Permission denied"]}),
        ("whitebit", 401, {"code": 0, "message": "This action is unauthorized."}),
    ],
)
def test_keys_that_may_not_see_transfers_stop_nothing(
    venue: str, status: int, refusal: object
) -> None:
    """The venue refuses the question each time: transfers are not reported, and no slot fails."""
    wallet = Wallet(venue, 3, 3)
    whole = wallet.answer

    def refusing(method: str, path: str, fields: Mapping[str, Any]) -> Said:
        return whole(method, path, fields) if "time" in path.lower() else (status, refusal)

    wallet.exchange, _ = account_at(venue, refusing)
    assert wallet.exchange.transfers(datetime.now(UTC) - timedelta(days=3)) is None
