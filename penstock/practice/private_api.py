"""The signed calls: account, orders, trades."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

from penstock.core.ids import IdSource
from penstock.core.orders import Side
from penstock.practice import binance_json
from penstock.practice.accounts import PracticeAccount, PracticeOrder
from penstock.practice.binance_errors import (
    PracticeRefusal,
    missing_parameter,
    unneeded_parameter,
    unsupported,
)
from penstock.practice.faults import Fault, FaultKind
from penstock.practice.matching import MatchingEngine
from penstock.practice.parameters import (
    ASSET,
    BOOLEAN,
    CANCEL_RESTRICTIONS,
    CLIENT_ID,
    DECIMAL,
    INT,
    LONG,
    NEW_CLIENT_ID,
    ORDER_TYPE,
    PEG_OFFSET_TYPE,
    PEG_PRICE_TYPE,
    RESPONSE_TYPE,
    SIDE,
    STP_MODE,
    SYMBOL,
    TEXT,
    TIME,
    TIME_IN_FORCE,
    Parameter,
    Parameters,
    Route,
    Weight,
    decimal,
    integer,
    may,
    needs,
    page_size,
    required,
    table,
)

Row = TypeVar("Row")
SignedHandler = Callable[[PracticeAccount, Parameters], Any]

_PAGE_DEFAULT, _PAGE_MOST = 500, 1000
_DAY_MS = 86_400_000
#: What a new order may carry.
NEW_ORDER = (
    needs("symbol", SYMBOL),
    needs("side", SIDE),
    needs("type", ORDER_TYPE),
    may("timeInForce", TIME_IN_FORCE),
    may("quantity", DECIMAL),
    may("quoteOrderQty", DECIMAL),
    may("price", DECIMAL),
    may("newClientOrderId", NEW_CLIENT_ID),
    may("strategyId", LONG),
    may("strategyType", INT),
    may("stopPrice", DECIMAL),
    may("trailingDelta", LONG),
    may("icebergQty", DECIMAL),
    may("newOrderRespType", RESPONSE_TYPE),
    may("selfTradePreventionMode", STP_MODE),
    may("pegPriceType", PEG_PRICE_TYPE),
    may("pegOffsetValue", INT),
    may("pegOffsetType", PEG_OFFSET_TYPE),
)
_ONE_ORDER = (needs("symbol", SYMBOL), may("orderId", LONG), may("origClientOrderId", CLIENT_ID))
_PERIOD = (may("startTime", TIME), may("endTime", TIME), may("limit", INT))
_TRANSFERS = (may("coin", ASSET), may("status", INT), may("offset", INT), may("txId", TEXT))


class PrivateApi:
    """Answers for one authenticated account. Refusals change nothing."""

    def __init__(self, engine: MatchingEngine, ids: IdSource) -> None:
        self.engine = engine
        self._ids = ids
        self.market = engine.market

    def routes(self) -> dict[str, Route[SignedHandler]]:
        """Return the routes by method and path."""
        return table(
            _signed(
                "GET", "/api/v3/account", self.account, (may("omitZeroBalances", BOOLEAN),), 20
            ),
            _signed("GET", "/api/v3/order", self.query_order, _ONE_ORDER, 4),
            _signed(
                "GET",
                "/api/v3/openOrders",
                self.open_orders,
                (may("symbol", SYMBOL),),
                lambda p: 6 if "symbol" in p else 80,
            ),
            _signed(
                "GET",
                "/api/v3/allOrders",
                self.all_orders,
                (needs("symbol", SYMBOL), may("orderId", LONG), *_PERIOD),
                20,
            ),
            _signed(
                "GET",
                "/api/v3/myTrades",
                self.trades,
                (needs("symbol", SYMBOL), may("orderId", LONG), may("fromId", LONG), *_PERIOD),
                lambda p: 5 if "orderId" in p else 20,
            ),
            Route(
                "POST",
                "/api/v3/order",
                self.new_order,
                NEW_ORDER,
                is_signed=True,
                counts_orders=True,
            ),
            _signed(
                "DELETE",
                "/api/v3/order",
                self.cancel_order,
                (
                    *_ONE_ORDER,
                    may("newClientOrderId", NEW_CLIENT_ID),
                    may("cancelRestrictions", CANCEL_RESTRICTIONS),
                ),
            ),
            _signed(
                "GET",
                "/sapi/v1/capital/deposit/hisrec",
                lambda account, p: self._transfers(account, p, "deposit"),
                (*_TRANSFERS, *_PERIOD),
            ),
            _signed(
                "GET",
                "/sapi/v1/capital/withdraw/history",
                lambda account, p: self._transfers(account, p, "withdrawal"),
                (*_TRANSFERS, *_PERIOD),
            ),
        )

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
            order,
            trades,
            parameters.get("newOrderRespType")
            or ("FULL" if order.type in ("MARKET", "LIMIT") else "ACK"),
        )

    def _order_from(self, parameters: Parameters) -> PracticeOrder:
        """Return the order that the parameters describe, checked against the symbol's filters."""
        symbol = self.market.listing(parameters["symbol"]).wire
        side, kind = parameters["side"], parameters["type"]
        _refuse_unsupported(parameters, kind)
        rules = self.engine.rules[symbol]
        quantity = Decimal(required(parameters, "quantity"))
        rules.check_quantity(quantity, kind)
        price = decimal(parameters, "price") or Decimal(0)
        if kind == "MARKET":
            if "price" in parameters:
                raise unneeded_parameter("price")
        else:
            rules.check_price(Decimal(required(parameters, "price")))
        now = self._now()
        return PracticeOrder(
            order_id=0,
            client_id=parameters.get("newClientOrderId") or self._ids.new_id(),
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

    def query_order(self, account: PracticeAccount, parameters: Parameters) -> Any:
        order = self._find(account, parameters)
        if order is None or not self._sees(order):
            raise PracticeRefusal(-2013, "Order does not exist.")
        if order.client_id != parameters.get("origClientOrderId", order.client_id):
            raise PracticeRefusal(-2039, "Client order ID is not correct for this order ID.")
        return binance_json.order_answer(order)

    def cancel_order(self, account: PracticeAccount, parameters: Parameters) -> Any:
        order = self._find(account, parameters)
        if order is None or not order.status.is_open or not self._sees(order):
            raise PracticeRefusal(-2011, "Unknown order sent.")
        if order.client_id != parameters.get("origClientOrderId", order.client_id):
            raise PracticeRefusal(-2011, "Unknown order sent.")
        only = parameters.get("cancelRestrictions", f"ONLY_{order.status}")
        if only != f"ONLY_{order.status}":
            raise PracticeRefusal(-2011, "Order was not canceled due to cancel restrictions.")
        self.engine.cancel(account, order)
        name = parameters.get("newClientOrderId") or self._ids.new_id()
        return binance_json.cancel_answer(order, name, self._now())

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
            for order in _page(found, parameters, from_start=(first, start) != (None, None))
        ]

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
        for name in ("coin", "txId", "status"):
            if name in parameters:
                found = [row for row in found if str(row[name]) == parameters[name]]
        return _page(found[integer(parameters, "offset") or 0 :], parameters, from_start=True)

    def _find(self, account: PracticeAccount, parameters: Parameters) -> PracticeOrder | None:
        symbol = self.market.listing(parameters["symbol"]).wire
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


def _signed(
    method: str,
    path: str,
    handler: SignedHandler,
    reads: tuple[Parameter, ...] = (),
    weight: Weight = 1,
) -> Route[SignedHandler]:
    return Route(method, path, handler, reads, weight, is_signed=True)


def _refuse_unsupported(parameters: Parameters, kind: str) -> None:
    """Raise the refusal of what no symbol of the practice exchange takes."""
    for name, what in (
        ("trailingDelta", "Trailing stop orders"),
        ("icebergQty", "Iceberg orders"),
        ("pegPriceType", "Pegged orders"),
        ("pegOffsetValue", "Pegged orders"),
        ("pegOffsetType", "Pegged orders"),
    ):
        if name in parameters:
            raise unsupported(what)
    if kind not in ("MARKET", "LIMIT", "LIMIT_MAKER"):
        raise unsupported(f"{kind.replace('_', ' ').capitalize()} orders")
    if "stopPrice" in parameters:
        raise unneeded_parameter("stopPrice")
    if "quoteOrderQty" in parameters:
        raise unsupported("Quote order qty market orders")


def _time_in_force(parameters: Parameters, kind: str) -> str:
    if kind != "LIMIT":
        if "timeInForce" in parameters:
            raise unneeded_parameter("timeInForce")
        return "GTC"
    return required(parameters, "timeInForce")


def _page(rows: list[Row], parameters: Parameters, from_start: bool) -> list[Row]:
    size = page_size(parameters, _PAGE_DEFAULT, _PAGE_MOST)
    return rows[:size] if from_start else rows[-size:]
