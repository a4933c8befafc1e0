"""How each venue is asked for an order by its client order id, and which venues can be traded
because that is known.

ccxt's `fetch_order` takes a client order id at some venues, at others it drops it or looks for a
venue's id of that name and then says that there is no such order. Such a denial would have a lost
order sent again, so each venue's way stands here.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.core.errors import ConfigError

#: Asks a ccxt client for the order of this name in this symbol. The lists are read from the venue's
#: own answer: ccxt's calls give an empty list also for an answer that has none in it, which would
#: pass for a denial.
Question = Callable[[Any, str, str], list[dict[str, Any]]]

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class OrderLookup:
    """One venue's way. An order does not exist only when every one of `questions` was answered
    without it.

    `by_list` says that the questions return lists, which may be empty; elsewhere ccxt raises where
    there is no order. `named_in_cancel` is the parameter that names an order to cancel, where ccxt
    does not translate its own. `cut_short` are the venue's own words for an order that ended partly
    filled, which ccxt calls closed. `may_add_dashes` says that the venue takes 32 hexadecimal
    digits for a UUID, and may write them as one. `too_late` are the codes by which a cancellation
    is told that the order has ended, where ccxt calls that an invalid order. To a question they are
    no denial.
    """

    questions: tuple[Question, ...]
    by_list: bool = False
    named_in_cancel: str = ""
    cut_short: frozenset[str] = frozenset()
    may_add_dashes: bool = False
    too_late: frozenset[str] = frozenset()

    def cancel(self, client: Any, name: str, symbol: str) -> Any:
        """Ask once that the order be cancelled; return ccxt's answer."""
        if self.named_in_cancel:  # with an id besides, the venue would look for that
            return client.cancel_order(None, symbol, {self.named_in_cancel: name})
        return client.cancel_order(name, symbol, {"clientOrderId": name})

    def name_of(self, order: Mapping[str, Any]) -> str:
        """Return the client order id of a ccxt order as it was sent; "" where it has none."""
        name = str(order.get("clientOrderId") or "")
        return name.replace("-", "") if self.may_add_dashes and _UUID.fullmatch(name) else name

    def is_cut_short(self, order: Mapping[str, Any]) -> bool:
        return (
            bool(self.cut_short) and (order.get("info") or {}).get("orderStatus") in self.cut_short
        )


def _by_client_order_id(client: Any, name: str, symbol: str) -> list[dict[str, Any]]:
    return [client.fetch_order(name, symbol, {"clientOrderId": name})]


def _kraken_open(client: Any, name: str, _symbol: str) -> list[dict[str, Any]]:
    return _kraken(client, client.privatePostOpenOrders({"cl_ord_id": name})["result"]["open"])


def _kraken_closed(client: Any, name: str, _symbol: str) -> list[dict[str, Any]]:
    return _kraken(client, client.privatePostClosedOrders({"cl_ord_id": name})["result"]["closed"])


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
    return [client.parse_order(order, market) for order in answer["result"]["list"]]


#: ccxt hands the id on as origClientOrderId (Binance) and clOrdId (OKX), to the call that knows
#: open and ended orders.
_ONE_CALL = OrderLookup((_by_client_order_id,))
#: An order that ends between two questions is in the second list: what is open is asked for first.
_KRAKEN = OrderLookup((_kraken_open, _kraken_closed), by_list=True, may_add_dashes=True)
_BYBIT = OrderLookup(
    (_bybit_recent, _bybit_history),
    by_list=True,
    named_in_cancel="orderLinkId",
    cut_short=frozenset({"PartiallyFilledCanceled", "PARTIALLY_FILLED_CANCELLED"}),
    too_late=frozenset({"170139", "170142", "170143"}),  # filled, canceled, not on the book
)

_LOOKUPS: Mapping[str, OrderLookup] = {
    **dict.fromkeys(("binance", "binanceus"), _ONE_CALL),
    **dict.fromkeys(("okx", "okxus", "myokx"), _ONE_CALL),
    **dict.fromkeys(("bybit", "bybiteu", "bybitid"), _BYBIT),
    "kraken": _KRAKEN,
}


def order_lookup(venue: str) -> OrderLookup:
    """Return the venue's way; ConfigError where none is known: a lost order could not be found and
    might be sent twice.
    """
    if venue not in _LOOKUPS:
        raise ConfigError(
            f"'{venue}' cannot be traded: it is not known how it is asked for an order by client order id, so a lost order "
            f"might be sent twice. Trade at one of {', '.join(sorted(_LOOKUPS))}; '{venue}' still serves for market data "
            "and for trading on paper"
        )
    return _LOOKUPS[venue]
