"""The signed calls about orders."""

from collections.abc import Callable
from typing import Any, TypeVar

from penstock.core.ids import IdSource
from penstock.practice import binance_json
from penstock.practice.accounts import PracticeAccount, PracticeOrder
from penstock.practice.binance_errors import PracticeRefusal, missing_either
from penstock.practice.faults import Fault, FaultKind
from penstock.practice.matching import MatchingEngine
from penstock.practice.order_requests import (
    CANCEL_ORDER,
    CANCEL_REPLACE,
    NEW_ORDER,
    ONE_ORDER,
    order_from,
)
from penstock.practice.parameters import (
    BOOLEAN,
    LONG,
    PERIOD,
    SYMBOL,
    Parameter,
    Parameters,
    Route,
    Weight,
    integer,
    is_true,
    may,
    needs,
    page_size,
    table,
)

Row = TypeVar("Row")
SignedHandler = Callable[..., Any]
#: By which a cancel-replace names the order to cancel.
_REPLACED = frozenset({"cancelOrderId", "cancelOrigClientOrderId"})


class OrderApi:
    """Places, finds and cancels the orders of one authenticated account.

    Refusals change nothing, but for the half of a cancel-replace that succeeded.
    """

    def __init__(self, engine: MatchingEngine, ids: IdSource) -> None:
        self.engine = engine
        self._ids = ids
        self.market = engine.market

    def routes(self) -> dict[str, Route[SignedHandler]]:
        """Return the routes by method and path.

        Those that count orders take a fault beside account and parameters.
        """
        listed = (needs("symbol", SYMBOL), may("orderId", LONG), *PERIOD)
        tested = (*NEW_ORDER, may("computeCommissionRates", BOOLEAN))
        return table(
            Route(
                "POST", "/api/v3/order", self.place, NEW_ORDER, is_signed=True, counts_orders=True
            ),
            Route(
                "POST",
                "/api/v3/order/cancelReplace",
                self.cancel_replace,
                CANCEL_REPLACE,
                is_signed=True,
                counts_orders=True,
            ),
            signed(
                "POST",
                "/api/v3/order/test",
                self.test,
                tested,
                lambda p: 20 if is_true(p, "computeCommissionRates", False) else 1,
            ),
            signed("GET", "/api/v3/order", self.query, ONE_ORDER, 4),
            signed("DELETE", "/api/v3/order", self.cancel, CANCEL_ORDER),
            signed(
                "GET",
                "/api/v3/openOrders",
                self.open_orders,
                (may("symbol", SYMBOL),),
                lambda p: 6 if "symbol" in p else 80,
            ),
            signed(
                "DELETE", "/api/v3/openOrders", self.cancel_open_orders, (needs("symbol", SYMBOL),)
            ),
            signed("GET", "/api/v3/allOrders", self.all_orders, listed, 20),
            signed("GET", "/api/v3/openOrderList", _no_lists, (), 6),
            signed(
                "GET",
                "/api/v3/allOrderList",
                _no_lists,
                (may("fromId", LONG), *PERIOD),
                20,
            ),
        )

    def place(
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
        default = "FULL" if order.type in ("MARKET", "LIMIT") else "ACK"
        kind = parameters.get("newOrderRespType", default)
        return binance_json.new_order_answer(order, trades, kind)

    def test(self, account: PracticeAccount, parameters: Parameters) -> Any:
        """Check an order against the filters. Whether the account has the funds is not looked at.

        The answer has the account's commission rates where they are asked for.
        """
        self.engine.check(account, self._order_from(parameters))
        if not is_true(parameters, "computeCommissionRates", False):
            return {}
        model = self.engine.fill_model
        return binance_json.order_commission_answer(
            maker_bps=model.fee_bps(is_maker=True), taker_bps=model.fee_bps(is_maker=False)
        )

    def query(self, account: PracticeAccount, parameters: Parameters) -> Any:
        order = self._find(account, parameters)
        if order is None or not self._sees(order):
            raise PracticeRefusal(-2013, "Order does not exist.")
        if order.client_id != parameters.get("origClientOrderId", order.client_id):
            raise PracticeRefusal(-2039, "Client order ID is not correct for this order ID.")
        return binance_json.order_answer(order)

    def cancel(self, account: PracticeAccount, parameters: Parameters) -> Any:
        order = self._find(account, parameters)
        if (
            order is None
            or not order.status.is_open
            or not self._sees(order)
            or order.client_id != parameters.get("origClientOrderId", order.client_id)
        ):
            raise PracticeRefusal(-2011, "Unknown order sent.")
        only = parameters.get("cancelRestrictions", f"ONLY_{order.status}")
        if only != f"ONLY_{order.status}":
            raise PracticeRefusal(-2011, "Order was not canceled due to cancel restrictions.")
        self.engine.cancel(account, order)
        name = parameters.get("newClientOrderId") or self._ids.new_id()
        return binance_json.cancel_answer(order, name, self._now())

    def cancel_open_orders(self, account: PracticeAccount, parameters: Parameters) -> Any:
        """Cancel every order that works on a symbol; all answers have one id for it."""
        found = self._open(account, self.market.listing(parameters["symbol"]).wire)
        if not found:
            raise PracticeRefusal(-2011, "Unknown order sent.")
        name = self._ids.new_id()
        for order in found:
            self.engine.cancel(account, order)
        return [binance_json.cancel_answer(order, name, self._now()) for order in found]

    def cancel_replace(
        self, account: PracticeAccount, parameters: Parameters, fault: Fault | None = None
    ) -> Any:
        """Cancel an order and place another. The filters are looked at before either.

        Raises PracticeRefusal -1102 where no order is named, -2021 where one of the two failed,
        -2022 where nothing was done. Only a new order that was tried and refused does not count.
        """
        if not _REPLACED & parameters.keys():
            raise missing_either("cancelOrigClientOrderId", "cancelOrderId")
        self.engine.check(account, self._order_from(parameters))
        cancelled, is_cancelled = _attempt(lambda: self.cancel(account, _cancellation(parameters)))
        placed: Any = None
        is_placed = False
        if is_cancelled or parameters["cancelReplaceMode"] == "ALLOW_FAILURE":
            placed, is_placed = _attempt(lambda: self.place(account, parameters, fault))
            new_result = "SUCCESS" if is_placed else "FAILURE"
        else:
            new_result = "NOT_ATTEMPTED"
        answer = {
            "cancelResult": "SUCCESS" if is_cancelled else "FAILURE",
            "newOrderResult": new_result,
            "cancelResponse": cancelled,
            "newOrderResponse": placed,
        }
        if is_cancelled and is_placed:
            return answer
        code, message, status = -2022, "Order cancel-replace failed.", 400
        if is_cancelled or is_placed:
            code, message, status = -2021, "Order cancel-replace partially failed.", 409
        counts = new_result != "FAILURE"
        raise PracticeRefusal(code, message, status=status, data=answer, counts_order=counts)

    def open_orders(self, account: PracticeAccount, parameters: Parameters) -> Any:
        wanted = None
        if "symbol" in parameters:
            wanted = self.market.listing(parameters["symbol"]).wire
        return [binance_json.order_answer(order) for order in self._open(account, wanted)]

    def all_orders(self, account: PracticeAccount, parameters: Parameters) -> Any:
        """Return orders, sorted by id: from `orderId` or `startTime` on, or else the latest."""
        symbol = self.market.listing(parameters["symbol"]).wire
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
            for order in page(found, parameters, from_start=(first, start) != (None, None))
        ]

    def _order_from(self, parameters: Parameters) -> PracticeOrder:
        symbol = self.market.listing(parameters["symbol"]).wire
        client_id = parameters.get("newClientOrderId") or self._ids.new_id()
        return order_from(parameters, self.engine.rules[symbol], client_id, self._now())

    def _open(self, account: PracticeAccount, symbol: str | None) -> list[PracticeOrder]:
        """Return the visible orders at work, oldest first: those of a symbol, or all."""
        found = (account.orders[order_id] for order_id in account.open_ids)
        return [o for o in found if symbol in (None, o.symbol) and self._sees(o)]

    def _find(self, account: PracticeAccount, parameters: Parameters) -> PracticeOrder | None:
        symbol = self.market.listing(parameters["symbol"]).wire
        order_id = integer(parameters, "orderId")
        if order_id is None:
            if "origClientOrderId" not in parameters:
                raise missing_either("origClientOrderId", "orderId")
            order_id = account.order_ids.get(parameters["origClientOrderId"])
        order = None if order_id is None else account.orders.get(order_id)
        return order if order is not None and order.symbol == symbol else None

    def _sees(self, order: PracticeOrder) -> bool:
        return binance_json.is_visible(order, self._elapsed(), self._now())

    def _elapsed(self) -> float:
        return self.engine.venue.time.machine_clock.elapsed_seconds()

    def _now(self) -> int:
        return self.engine.venue.time.now_ms()


def signed(
    method: str,
    path: str,
    handler: SignedHandler,
    reads: tuple[Parameter, ...] = (),
    weight: Weight = 1,
) -> Route[SignedHandler]:
    return Route(method, path, handler, reads, weight, is_signed=True)


def page(rows: list[Row], parameters: Parameters, from_start: bool) -> list[Row]:
    """Return the first or the last rows of a list, as many as `limit` asks for."""
    size = page_size(parameters)
    return rows[:size] if from_start else rows[-size:]


def _no_lists(_account: PracticeAccount, _parameters: Parameters) -> Any:
    """Return nothing: the practice exchange has no order lists."""
    return []


def _attempt(carry_out: Callable[[], Any]) -> tuple[Any, bool]:
    """Return an answer and True, or the refusal as a cancel-replace shows it and False."""
    try:
        return carry_out(), True
    except PracticeRefusal as refusal:
        return {"code": refusal.code, "msg": refusal.message}, False


def _cancellation(parameters: Parameters) -> dict[str, str]:
    """Return what a cancel-replace says of the order to cancel, as a cancellation would."""
    names = {
        "symbol": "symbol",
        "cancelOrderId": "orderId",
        "cancelOrigClientOrderId": "origClientOrderId",
        "cancelNewClientOrderId": "newClientOrderId",
        "cancelRestrictions": "cancelRestrictions",
    }
    return {to: parameters[name] for name, to in names.items() if name in parameters}
