"""An account's fills at a ccxt venue: all of its trades, each with its order's client order id."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from penstock.adapters.exchanges.ccxt_market import CcxtMarketData
from penstock.adapters.exchanges.fees import fee_of
from penstock.adapters.exchanges.order_reports import OrderReports
from penstock.adapters.exchanges.trade_pages import Trade, id_number, trade_pager, trades_by_id
from penstock.core.errors import OrderNotFoundError
from penstock.core.orders import Fill, Side

_PAGE = 1000
_ASK_ONE_BY_ONE = 5


class AccountFills:
    """Reads the fills of an account. `venue` asks with the account's keys.

    Raises ConfigError where it is not known how the venue lists trades.
    """

    def __init__(self, venue: CcxtMarketData, reports: OrderReports) -> None:
        self._venue = venue
        self._reports = reports
        self._pager = trade_pager(venue.venue)

    def since(self, symbol: str, since: datetime) -> Sequence[Fill]:
        """Return every fill in `symbol` from `since` on, oldest first."""
        trades = self._all_trades(symbol, round(since.timestamp() * 1000))
        # The trades' own names come first: ccxt cannot ask for a single order at Bybit.
        names = [None if self._pager is None else self._pager.name_of(trade) for trade in trades]
        self._learn_client_ids(
            symbol,
            {
                str(trade["order"])
                for trade, name in zip(trades, names, strict=True)
                if name is None and trade.get("order") is not None
            },
        )
        known = self._reports.client_ids
        return self._venue.understood(
            f"fills of {symbol}",
            lambda: [
                self._fill(trade, known.get(str(trade.get("order")), "") if name is None else name)
                for trade, name in zip(trades, names, strict=True)
            ],
        )

    def _all_trades(self, symbol: str, since: int) -> list[Trade]:
        """Return every trade from `since` (milliseconds) on, oldest first.

        Trades are paged by id where the venue does so, and with its pager otherwise.
        """
        read = partial(self._venue.read, f"fills of {symbol}")
        trades = (
            trades_by_id(read, self._venue.client, symbol, since)
            if self._pager is None
            else self._pager.trades(read, self._venue.client, symbol, since)
        )
        return sorted(trades, key=lambda trade: (int(trade["timestamp"]), id_number(trade["id"])))

    def _learn_client_ids(self, symbol: str, order_ids: set[str]) -> None:
        """Find the client order ids of orders that this process has not seen yet.

        Many are asked for at once, few one by one.
        """
        client, known = self._venue.client, self._reports.client_ids
        if len(order_ids - known.keys()) > _ASK_ONE_BY_ONE and client.has.get("fetchOrders"):
            self._venue.read(
                f"orders of {symbol}",
                lambda: [
                    self._reports.of(order, "", symbol)
                    for order in client.fetch_orders(symbol, None, _PAGE)
                ],
            )
        for order_id in sorted(order_ids - known.keys()):
            try:
                self._venue.read(
                    f"order {order_id}", partial(self._learn_client_id, order_id, symbol)
                )
            except OrderNotFoundError:
                continue  # archived or not visible yet: the fill names no order of ours

    def _learn_client_id(self, order_id: str, symbol: str) -> None:
        self._reports.of(self._venue.client.fetch_order(order_id, symbol), "", symbol)

    def _fill(self, trade: Mapping[str, Any], client_order_id: str) -> Fill:
        fee, fee_asset = fee_of(self._venue.venue, trade)
        return Fill(
            trade_id=str(trade["id"]),
            client_order_id=client_order_id,
            symbol=str(trade["symbol"]),
            side=Side(trade["side"]),
            quantity=Decimal(str(trade["amount"])),
            price=Decimal(str(trade["price"])),
            fee=fee,
            fee_asset=fee_asset,
            at=datetime.fromtimestamp(int(trade["timestamp"]) / 1000, UTC),
        )
