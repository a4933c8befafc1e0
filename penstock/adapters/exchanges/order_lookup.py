"""How each venue is asked for an order by its client order id.

Only venues for which that is known can be traded. ccxt's `fetch_order` takes a client order id at
some venues. At others it drops it, or looks for a venue's id of that name, and then reports that
there is no such order. A lost order would then be sent again.
"""

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import ccxt

from penstock.adapters.exchanges.answers import list_in, rows_in
from penstock.adapters.exchanges.venue_families import family_of, names_of
from penstock.core.errors import ConfigError

#: Asks a ccxt client for the order of this name in this symbol. Lists are read from the venue's own
#: answer. ccxt's calls return an empty list for an answer without one, and that would look like "no
#: such order".
Question = Callable[[Any, str, str], list[dict[str, Any]]]

#: After so many pages the reading of working orders fails.
_MOST_PAGES = 1000
_BYBIT_PAGE = 50
#: What stands where there is no reason. The last is Bybit's.
_NO_REASON = (None, "", "EC_NoError")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class OrderLookup:
    """How one venue is asked for an order, and asked to cancel it."""

    questions: tuple[Question, ...]
    """The questions. An order does not exist only where all of them were answered without it."""
    working: Callable[[Any], list[dict[str, Any]]]
    """Lists the working orders of all pages. ccxt's call shows one page, and takes an answer
    without a list for an empty one.
    """
    filled_in: str
    """The field of the venue's orders with the filled quantity. Where it is missing ccxt makes a
    figure up: none (Binance), or all that does not work any more.
    """
    reason_in: str = ""
    """The field of the venue's orders that says why one ended; "" where there is none."""
    by_list: bool = False
    """Whether the questions return lists, which may be empty. Otherwise each returns one order, and
    ccxt raises an error where there is none.
    """
    cancelled_by: Callable[[Any, str, str], Any] | None = None
    """Asks once to cancel the order of this name in this symbol, where ccxt's call cannot."""
    no_such_order: re.Pattern[str] | None = None
    """How the venue says that it has no such order, where ccxt takes other refusals for that, too:
    a request that the venue did not understand is no denial."""
    named_in_cancel: str = ""
    """The parameter that names an order to cancel instead of the venue's id, where ccxt does not
    translate its own. ccxt must take None as id there."""
    cut_short: frozenset[str] = frozenset()
    """The venue's states of an order that ended partly filled, which ccxt calls closed."""
    may_add_dashes: bool = False
    """Whether the venue takes 32 hexadecimal digits for a UUID, and may write dashes into them."""

    def cancel(self, client: Any, name: str, symbol: str) -> Any:
        """Ask once to cancel the order; return ccxt's answer."""
        if self.cancelled_by is not None:
            return self.cancelled_by(client, name, symbol)
        if self.named_in_cancel:  # with an id besides, the venue would look for that
            return client.cancel_order(None, symbol, {self.named_in_cancel: name})
        return client.cancel_order(name, symbol, {"clientOrderId": name})

    def denied_by_venue(self, ask: Callable[[], Any]) -> Any:
        """Return `ask()`. Only the venue's own denial leaves it as ccxt.OrderNotFound.

        Raises ValueError where ccxt says so of another refusal.
        """
        try:
            return ask()
        except ccxt.OrderNotFound as error:
            if self.no_such_order is None or self.no_such_order.search(str(error)):
                raise
            raise ValueError(f"refused without a word of the order: {error}") from error

    def name_of(self, order: Mapping[str, Any]) -> str:
        """Return the client order id of a ccxt order as it was sent; "" where it has none.

        Binance's answer to a cancellation has the cancellation's own id as `clientOrderId`, and the
        order's beside it.
        """
        original = (order.get("info") or {}).get("origClientOrderId")
        name = str(original or order.get("clientOrderId") or "")
        return name.replace("-", "") if self.may_add_dashes and _UUID.fullmatch(name) else name

    def filled_of(self, order: Mapping[str, Any]) -> Decimal | None:
        """Return the filled quantity that the venue states of a ccxt order; None where it states
        none.

        Raises ValueError or ArithmeticError where that is no number of zero or above.
        """
        stated = (order.get("info") or {}).get(self.filled_in)
        if stated is None or stated == "":
            return None
        filled = Decimal(str(stated))
        if not filled.is_finite() or filled < 0:
            raise ValueError(f"order {order.get('id')} has filled {filled}")
        return filled

    def reason_of(self, order: Mapping[str, Any]) -> str:
        """Return why a ccxt order ended, in the venue's words; "" where it does not say."""
        stated = (order.get("info") or {}).get(self.reason_in)
        return "" if stated in _NO_REASON else str(stated)

    def is_cut_short(self, order: Mapping[str, Any]) -> bool:
        """Return whether a ccxt order ended partly filled."""
        return (
            bool(self.cut_short) and (order.get("info") or {}).get("orderStatus") in self.cut_short
        )


def _by_client_order_id(client: Any, name: str, symbol: str) -> list[dict[str, Any]]:
    return [client.fetch_order(name, symbol, {"clientOrderId": name})]


def _kraken_open(client: Any, name: str, _symbol: str) -> list[dict[str, Any]]:
    answer = client.privatePostOpenOrders({"cl_ord_id": name})
    return _kraken(client, rows_in(answer, "result", "open"))


def _kraken_closed(client: Any, name: str, _symbol: str) -> list[dict[str, Any]]:
    answer = client.privatePostClosedOrders({"cl_ord_id": name})
    return _kraken(client, rows_in(answer, "result", "closed"))


def _kraken_working(client: Any) -> list[dict[str, Any]]:
    return _kraken(client, rows_in(client.privatePostOpenOrders({}), "result", "open"))


def _binance_working(client: Any) -> list[dict[str, Any]]:
    return [
        client.parse_order(row, client.safe_market(row["symbol"], None, None, "spot"))
        for row in list_in(client.privateGetOpenOrders({}))
    ]


def _kraken(client: Any, orders: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [client.parse_order({**order, "id": venue_id}) for venue_id, order in orders.items()]


def _bybit_recent(client: Any, name: str, symbol: str) -> list[dict[str, Any]]:
    return _bybit(client, client.privateGetV5OrderRealtime, name, symbol)


def _bybit_history(client: Any, name: str, symbol: str) -> list[dict[str, Any]]:
    return _bybit(client, client.privateGetV5OrderHistory, name, symbol)


def _bybit(
    client: Any, ask: Callable[[dict[str, Any]], Any], name: str, symbol: str
) -> list[dict[str, Any]]:
    market = client.market(symbol)
    answer = ask({"category": "spot", "symbol": market["id"], "orderLinkId": name})
    return [client.parse_order(order, market) for order in list_in(answer, "result", "list")]


#: One page of working orders.
Orders = dict[str, dict[str, Any]]


def _all_pages(page: Callable[[Any], tuple[Orders, Any]]) -> list[dict[str, Any]]:
    """Return the working orders of all pages. `page(where)` returns one, and where the next is.

    The first is at None. None after a page means that it was the last.
    """
    found: Orders = {}
    where = None
    asked: set[Any] = set()
    for _ in range(_MOST_PAGES):
        fresh, where = page(where)
        if fresh and fresh.keys() <= found.keys():
            raise ValueError(f"the same open orders again before {where}")
        found |= fresh
        if where is None:
            return list(found.values())
        if where in asked:
            raise ValueError(f"the way to the next open orders leads back to {where}")
        asked.add(where)
    raise ValueError(f"no end of open orders after {_MOST_PAGES} pages")


def _bybit_working(client: Any) -> list[dict[str, Any]]:
    """Return the working spot orders of all pages: 50 and a cursor at a time."""

    def page(cursor: str | None) -> tuple[Orders, str | None]:
        asked = {"category": "spot", "limit": _BYBIT_PAGE}
        answer = client.privateGetV5OrderRealtime(
            asked if cursor is None else {**asked, "cursor": cursor}
        )
        orders = {
            str(row["orderId"]): client.parse_order(
                row, client.safe_market(row["symbol"], None, None, "spot")
            )
            for row in list_in(answer, "result", "list")
        }
        return orders, answer["result"]["nextPageCursor"] or None

    return _all_pages(page)


def _okx_working(client: Any) -> list[dict[str, Any]]:
    """Return the working orders of all pages: up to 100 that are older than the order `after`.

    Only an empty page is the end.
    """

    def page(after: str | None) -> tuple[Orders, str | None]:
        answer = client.privateGetTradeOrdersPending({} if after is None else {"after": after})
        rows = list_in(answer, "data")
        orders = {str(row["ordId"]): client.parse_order(row) for row in rows}
        return orders, str(min(map(int, orders))) if orders else None

    return _all_pages(page)


_WHITEBIT_PAGE = 100
#: Its list of ended orders says so by an error.
_WHITEBIT_HAS_NONE = re.compile(r"(OrderHistory|Unexecuted order) was not found")


def _whitebit_open(client: Any, name: str, symbol: str) -> list[dict[str, Any]]:
    orders = list_in(_whitebit(client, client.v4PrivatePostOrders, name, symbol))
    return [_whitebit_order(client, order) for order in orders]


def _whitebit_order(client: Any, order: Mapping[str, Any]) -> dict[str, Any]:
    """Return a working order. It is open because it is in that list, as for ccxt."""
    parsed: dict[str, Any] = client.parse_order({**order, "status": "OPEN"})
    return parsed


def _whitebit_working(client: Any) -> list[dict[str, Any]]:
    """Return the working orders of all pages.

    An order that ends meanwhile moves the others up: pages share half of their orders. Where two
    share none, others may have moved past the reader.
    """
    found: dict[str, dict[str, Any]] = {}
    for offset in itertools.count(0, _WHITEBIT_PAGE // 2):
        page = list_in(client.v4PrivatePostOrders({"limit": _WHITEBIT_PAGE, "offset": offset}))
        fresh = {str(each["orderId"]): _whitebit_order(client, each) for each in page}
        if len(page) >= _WHITEBIT_PAGE and fresh.keys() <= found.keys():
            raise ValueError(f"the same open orders again after the first {offset}")
        if found and found.keys().isdisjoint(fresh):
            raise ValueError(f"open orders ended while they were read, after the first {offset}")
        found |= fresh
        if len(page) < _WHITEBIT_PAGE:
            break
    return list(found.values())


def _whitebit_ended(client: Any, name: str, symbol: str) -> list[dict[str, Any]]:
    """Return the ended orders of the name, which the venue groups by market."""
    market = client.market(symbol)
    found = _whitebit(client, client.v4PrivatePostTradeAccountOrderHistory, name, symbol)
    orders = found[market["id"]] if found else []
    return [
        client.parse_order({**each, "status": _whitebit_end(each["status"])}, market)
        for each in orders
    ]


def _whitebit_end(status: str) -> str:
    """Return the status of an ended order in a word that ccxt knows.

    ccxt calls an order open that ended partly filled, or that the venue itself cancelled.
    """
    if status == "FILLED":
        return status
    if "CANCEL" in status or "PARTIAL" in status:
        return "CANCELED"
    raise ValueError(f"an order among the ended ones with the status {status}")


def _whitebit(
    client: Any, ask: Callable[[dict[str, Any]], Any], name: str, symbol: str
) -> list[Any] | dict[str, Any]:
    try:
        answer: list[Any] | dict[str, Any] = ask(_whitebit_name(client, name, symbol))
    except ccxt.ExchangeError as error:
        if _WHITEBIT_HAS_NONE.search(str(error)):
            return []
        raise
    return answer


def _whitebit_cancel(client: Any, name: str, symbol: str) -> None:
    """ccxt's call wants the venue's id. What became of the order is asked for afterwards."""
    client.v4PrivatePostOrderCancel(_whitebit_name(client, name, symbol))


def _whitebit_name(client: Any, name: str, symbol: str) -> dict[str, Any]:
    return {"market": client.market(symbol)["id"], "clientOrderId": name}


#: ccxt sends the id as origClientOrderId (Binance) or clOrdId (OKX), to the call that has open and
#: ended orders.
_BINANCE = OrderLookup((_by_client_order_id,), _binance_working, "executedQty")
_OKX = OrderLookup((_by_client_order_id,), _okx_working, "accFillSz", "cancelSourceReason")
#: Open orders are asked for first: an order that ends between the questions is in the second list.
_KRAKEN = OrderLookup(
    (_kraken_open, _kraken_closed),
    _kraken_working,
    "vol_exec",
    "reason",
    by_list=True,
    may_add_dashes=True,
)
_BYBIT = OrderLookup(
    (_bybit_recent, _bybit_history),
    _bybit_working,
    "cumExecQty",
    "rejectReason",
    by_list=True,
    named_in_cancel="orderLinkId",
    cut_short=frozenset({"PartiallyFilledCanceled", "PARTIALLY_FILLED_CANCELLED"}),
)
_WHITEBIT = OrderLookup(
    (_whitebit_open, _whitebit_ended),
    _whitebit_working,
    "dealStock",
    by_list=True,
    no_such_order=_WHITEBIT_HAS_NONE,
    cancelled_by=_whitebit_cancel,
)

_LOOKUPS: Mapping[str, OrderLookup] = {
    "binance": _BINANCE,
    "okx": _OKX,
    "bybit": _BYBIT,
    "kraken": _KRAKEN,
    "whitebit": _WHITEBIT,
}


def order_lookup(venue: str) -> OrderLookup:
    """Return how the venue is asked for an order.

    Raises ConfigError where that is not known: a lost order might be sent twice.
    """
    if family_of(venue) not in _LOOKUPS:
        raise ConfigError(
            f"'{venue}' cannot be traded: it is not known how it is asked for an order by client "
            "order id, so a lost order might be sent twice. "
            f"Trade at one of {', '.join(names_of(_LOOKUPS))}; "
            f"'{venue}' still serves for market data and for trading on paper"
        )
    return _LOOKUPS[family_of(venue)]
