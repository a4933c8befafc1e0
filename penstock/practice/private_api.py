"""The signed calls: account, orders, trades."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from penstock.core.ids import IdSource
from penstock.core.orders import Side
from penstock.practice import binance_json
from penstock.practice.accounts import PracticeAccount, PracticeOrder
from penstock.practice.binance_errors import PracticeRefusal, illegal_parameter, missing_parameter
from penstock.practice.faults import Fault, FaultKind
from penstock.practice.matching import MatchingEngine
from penstock.practice.public_api import Parameters, integer, required

Row = TypeVar("Row")

_PAGE_DEFAULT, _PAGE_MOST = 500, 1000
_DAY_MS = 86_400_000
_TIMES_IN_FORCE = ("GTC", "IOC", "FOK")
_CLIENT_ID_LENGTH = 36


class PrivateApi:
    """Answers for one authenticated account. Refusals change nothing."""

    def __init__(self, engine: MatchingEngine, ids: IdSource) -> None:
        self.engine = engine
        self._ids = ids
        self.market = engine.market

    def routes(self) -> dict[str, Callable[[PracticeAccount, Parameters], Any]]:
        """Return the handlers by method and path."""
        return {
            "GET /api/v3/account": self.account,
            "GET /api/v3/order": self.query_order,
            "GET /api/v3/openOrders": self.open_orders,
            "GET /api/v3/allOrders": self.all_orders,
            "GET /api/v3/myTrades": self.trades,
            "POST /api/v3/order": self.new_order,
            "DELETE /api/v3/order": self.cancel_order,
            "GET /sapi/v1/capital/deposit/hisrec": lambda account, p: self._transfers(
                account, p, "deposit"
            ),
            "GET /sapi/v1/capital/withdraw/history": lambda account, p: self._transfers(
                account, p, "withdrawal"
            ),
        }

    def account(self, account: PracticeAccount, _: Parameters) -> Any:
        model = self.engine.fill_model
        return binance_json.account_answer(
            account, model.fee_bps(is_maker=False), model.fee_bps(is_maker=True), self._now()
        )

    def new_order(
        self, account: PracticeAccount, parameters: Parameters, fault: Fault | None = None
    ) -> Any:
        """Place an order; a fault may hide it from queries for a while."""
        order = self._order_from(parameters)
        earlier = account.order_ids.get(order.client_id)
        if earlier is not None and account.orders[earlier].status.is_open:
            raise PracticeRefusal(-2010, "Duplicate order sent.")
        if fault is not None:
            order.hidden_until_ms = self._now() + round(fault.hides_seconds * 1000)
            if fault.kind is FaultKind.HIDDEN_ORDER:
                order.hidden_until = self._elapsed() + fault.seconds
        trades = self.engine.place(account, order)
        return binance_json.new_order_answer(
            order, trades, parameters.get("newOrderRespType", "FULL")
        )

    def _order_from(self, parameters: Parameters) -> PracticeOrder:
        """Return the order that the parameters describe, checked against the symbol's filters."""
        symbol = self.market.listing(required(parameters, "symbol")).wire
        side, kind = required(parameters, "side"), required(parameters, "type")
        if side not in ("BUY", "SELL"):
            raise PracticeRefusal(-1117, "Invalid side.")
        if kind not in ("MARKET", "LIMIT", "LIMIT_MAKER"):
            raise PracticeRefusal(-1116, "Invalid orderType.")
        rules = self.engine.rules[symbol]
        quantity = _decimal(parameters, "quantity")
        rules.check_quantity(quantity, kind)
        price = Decimal(0)
        if kind == "MARKET":
            if "price" in parameters:
                raise PracticeRefusal(-1106, "Parameter 'price' sent when not required.")
        else:
            price = _decimal(parameters, "price")
            rules.check_price(price)
        now = self._now()
        return PracticeOrder(
            order_id=0,
            client_id=self._client_id(parameters),
            symbol=symbol,
            side=Side[side],
            type=kind,
            time_in_force=_time_in_force(parameters, kind),
            quantity=quantity,
            price=price,
            created_ms=now,
            updated_ms=now,
            matched_to_ms=now,
        )

    def _client_id(self, parameters: Parameters) -> str:
        given = parameters.get("newClientOrderId")
        if given is None:
            return self._ids.new_id()
        if (
            not given
            or len(given) > _CLIENT_ID_LENGTH
            or not all(c.isalnum() or c in ".:/_-" for c in given)
        ):
            raise illegal_parameter("newClientOrderId")
        return given

    def query_order(self, account: PracticeAccount, parameters: Parameters) -> Any:
        order = self._find(account, parameters)
        if order is None or not self._sees(order):
            raise PracticeRefusal(-2013, "Order does not exist.")
        return binance_json.order_answer(order)

    def cancel_order(self, account: PracticeAccount, parameters: Parameters) -> Any:
        order = self._find(account, parameters)
        if order is None or not order.status.is_open or not self._sees(order):
            raise PracticeRefusal(-2011, "Unknown order sent.")
        self.engine.cancel(account, order)
        return binance_json.cancel_answer(order, self._now())

    def open_orders(self, account: PracticeAccount, parameters: Parameters) -> Any:
        wanted = (
            None if "symbol" not in parameters else self.market.listing(parameters["symbol"]).wire
        )
        found = (account.orders[order_id] for order_id in account.open_ids)
        return [
            binance_json.order_answer(o)
            for o in found
            if wanted in (None, o.symbol) and self._sees(o)
        ]

    def all_orders(self, account: PracticeAccount, parameters: Parameters) -> Any:
        """Return orders, sorted by id: from `orderId` or `startTime` on, or else the latest."""
        symbol = self.market.listing(required(parameters, "symbol")).wire
        first, start, end = (
            integer(parameters, name) for name in ("orderId", "startTime", "endTime")
        )
        found = [
            order
            for order in account.orders.values()
            if order.symbol == symbol
            and self._sees(order)
            and (first is None or order.order_id >= first)
            and (start is None or order.created_ms >= start)
            and (end is None or order.created_ms <= end)
        ]
        return [
            binance_json.order_answer(order)
            for order in _page(found, parameters, from_start=(first, start) != (None, None))
        ]

    def trades(self, account: PracticeAccount, parameters: Parameters) -> Any:
        """Return trades, sorted by id: from `fromId` or `startTime` on, or else the latest."""
        symbol = self.market.listing(required(parameters, "symbol")).wire
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
            for trade in _page(found, parameters, from_start=(first, start) != (None, None))
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
        return _page(found[integer(parameters, "offset") or 0 :], parameters, from_start=True)

    def _find(self, account: PracticeAccount, parameters: Parameters) -> PracticeOrder | None:
        symbol = self.market.listing(required(parameters, "symbol")).wire
        order_id = integer(parameters, "orderId")
        if order_id is None:
            if "origClientOrderId" not in parameters:
                raise missing_parameter("orderId")
            order_id = account.order_ids.get(parameters["origClientOrderId"])
        order = None if order_id is None else account.orders.get(order_id)
        return order if order is not None and order.symbol == symbol else None

    def _sees(self, order: PracticeOrder) -> bool:
        return binance_json.is_visible(order, self._elapsed(), self._now())

    def _elapsed(self) -> float:
        return self.engine.venue.time.machine_clock.elapsed_seconds()

    def _now(self) -> int:
        return self.engine.venue.time.now_ms()


def _decimal(parameters: Parameters, name: str) -> Decimal:
    text = required(parameters, name)
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise illegal_parameter(name) from None
    if not value.is_finite() or value <= 0 or value > 10**15:
        raise illegal_parameter(name)
    return value


def _time_in_force(parameters: Parameters, kind: str) -> str:
    if kind != "LIMIT":
        if "timeInForce" in parameters:
            raise PracticeRefusal(-1106, "Parameter 'timeInForce' sent when not required.")
        return "GTC"
    given = required(parameters, "timeInForce")
    if given not in _TIMES_IN_FORCE:
        raise PracticeRefusal(-1115, "Invalid timeInForce.")
    return given


def _page(rows: list[Row], parameters: Parameters, from_start: bool) -> list[Row]:
    limit = integer(parameters, "limit")
    size = _PAGE_DEFAULT if limit is None else limit
    if size < 1:
        raise illegal_parameter("limit")
    size = min(size, _PAGE_MOST)
    return rows[:size] if from_start else rows[-size:]
