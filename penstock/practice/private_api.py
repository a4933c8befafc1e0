"""The signed calls: account, trades, transfers, and the calls about orders."""

from typing import Any

from penstock.core.ids import IdSource
from penstock.practice import binance_json
from penstock.practice.accounts import PracticeAccount
from penstock.practice.binance_errors import PracticeRefusal
from penstock.practice.matching import MatchingEngine
from penstock.practice.order_api import OrderApi, SignedHandler, page, signed
from penstock.practice.parameters import (
    ASSET,
    BOOLEAN,
    INT,
    LONG,
    PERIOD,
    SYMBOL,
    TEXT,
    Parameters,
    Route,
    integer,
    is_true,
    may,
    needs,
    table,
)

_DAY_MS = 86_400_000
_TRANSFERS = (may("coin", ASSET), may("status", INT), may("offset", INT), may("txId", TEXT))


class PrivateApi:
    """Answers for one authenticated account. Refusals change nothing."""

    def __init__(self, engine: MatchingEngine, ids: IdSource) -> None:
        self.engine = engine
        self._ids = ids
        self.market = engine.market

    def routes(self) -> dict[str, Route[SignedHandler]]:
        """Return the routes by method and path."""
        return (
            table(
                signed(
                    "GET", "/api/v3/account", self.account, (may("omitZeroBalances", BOOLEAN),), 20
                ),
                signed(
                    "GET",
                    "/api/v3/myTrades",
                    self.trades,
                    (needs("symbol", SYMBOL), may("orderId", LONG), may("fromId", LONG), *PERIOD),
                    lambda p: 5 if "orderId" in p else 20,
                ),
                signed(
                    "GET",
                    "/sapi/v1/capital/deposit/hisrec",
                    lambda account, p: self._transfers(account, p, "deposit"),
                    (*_TRANSFERS, *PERIOD),
                ),
                signed(
                    "GET",
                    "/sapi/v1/capital/withdraw/history",
                    lambda account, p: self._transfers(account, p, "withdrawal"),
                    (*_TRANSFERS, *PERIOD),
                ),
            )
            | OrderApi(self.engine, self._ids).routes()
        )

    def account(self, account: PracticeAccount, parameters: Parameters) -> Any:
        """Return the account with all assets that are traded, or only those that it holds."""
        model, traded = self.engine.fill_model, set[str]()
        if not is_true(parameters, "omitZeroBalances", False):
            traded = {a for each in self.market.listings.values() for a in (each.base, each.quote)}
        return binance_json.account_answer(
            account,
            traded,
            model.fee_bps(is_maker=False),
            model.fee_bps(is_maker=True),
            self._now(),
        )

    def trades(self, account: PracticeAccount, parameters: Parameters) -> Any:
        """Return trades, sorted by id: from `fromId` or `startTime` on, or else the latest."""
        symbol = self.market.listing(parameters["symbol"]).wire
        first, start, end, order_id = (
            integer(parameters, name) for name in ("fromId", "startTime", "endTime", "orderId")
        )
        if start is not None and end is not None and end - start > _DAY_MS:
            raise PracticeRefusal(-1127, "More than 24 hours between startTime and endTime.")
        found = [
            trade
            for trade in account.trades.get(symbol, [])
            if (first is None or trade.trade_id >= first)
            and (start is None or trade.at_ms >= start)
            and (end is None or trade.at_ms <= end)
            and (order_id is None or trade.order_id == order_id)
        ]
        return [
            binance_json.trade_answer(trade)
            for trade in page(found, parameters, from_start=(first, start) != (None, None))
        ]

    def _transfers(self, account: PracticeAccount, parameters: Parameters, reason: str) -> Any:
        """Return the deposits or withdrawals made from `startTime` on, newest first, without the
        first `offset` of them.
        """
        start, end = integer(parameters, "startTime") or 0, integer(parameters, "endTime")
        found = [
            binance_json.transfer_answer(entry)
            for entry in reversed(self.engine.venue.journal.entries)
            if entry["kind"] == "balance"
            and entry["account"] == account.api_key
            and entry["reason"] == reason
            and start <= entry["at"] <= (entry["at"] if end is None else end)
        ]
        for name in ("coin", "txId", "status"):
            if name in parameters:
                found = [row for row in found if str(row[name]) == parameters[name]]
        return page(found[integer(parameters, "offset") or 0 :], parameters, from_start=True)

    def _now(self) -> int:
        return self.engine.venue.time.now_ms()
