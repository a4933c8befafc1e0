"""How each venue lists an account's trades in pages: all from an instant on, or an error.

These venues show the newest page of what they are asked for. To go on from its newest trade would
lose the older ones. ccxt's `fetch_my_trades` asks once, and takes an answer without a list for an
empty one. So the venue's own answer is read here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

import structlog

from penstock.adapters.exchanges.answers import list_in, rows_in
from penstock.adapters.exchanges.fees import fee_of
from penstock.adapters.exchanges.venue_families import family_of, names_of
from penstock.core.errors import ConfigError, VenueUnavailableError

#: The parameters of one request.
Where = Mapping[str, Any]
#: A ccxt trade, with the venue's own row under "info".
Trade = dict[str, Any]

_MILLISECOND = timedelta(milliseconds=1)
_DAY = timedelta(days=1) // _MILLISECOND
#: Bybit shows seven days at most. Bounded windows are shorter: the last one has no end, and so
#: reaches beyond now by any clock.
_BYBIT_WINDOW = 6 * _DAY
_BYBIT_PAGE = 100
#: OKX has two lists. That of three days shows trades as they happen, that of three months may lag.
#: The shorter is asked for less than its days: the clocks may differ.
_OKX_RECENT = 2 * _DAY
_RECENT = "recent"
#: WhiteBIT refuses a start that is more than six months ago, the shortest of which have 181 days,
#: and windows of more than 31 days.
_WHITEBIT_KEPT = timedelta(days=180)
_WHITEBIT_WINDOW = 30 * _DAY
_WHITEBIT_PAGE = 100
#: The most rows of a page where pages are by id.
_PAGE_BY_ID = 1000
#: No venue is known to show fewer rows at once, so a page with fewer is the last. A venue that
#: shows fewer than it is asked for does not say so.
_SMALLEST_PAGE = 50
#: After so many pages the reading of a venue's trades fails.
_MOST_PAGES = 10_000
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class TradesPage:
    """One answer of a venue."""

    trades: Mapping[str, Trade]
    """The trades by the venue's own id; also those of other symbols, where the venue mixes them."""
    older: Where | None
    """The parameters for older trades; None where this was the last page."""


@dataclass(frozen=True)
class TradePager:
    """How one venue lists trades."""

    windows: Callable[[int, int], list[Where]]
    """Cuts the time from `since` to now (milliseconds) into what may be asked for at once."""
    page: Callable[[Any, Mapping[str, Any], Where], TradesPage]
    """Reads one page of a market's trades."""
    kept: timedelta | None = None
    """How long the venue shows trades; None is for ever."""
    name_in: str = ""
    """The field of a trade with its order's client order id; "" where trades have none."""

    def name_of(self, trade: Trade) -> str | None:
        """Return the client order id that the trade has, "" where its order has none; None where
        trades have no names.
        """
        if not self.name_in or self.name_in not in trade["info"]:
            return None
        return str(trade["info"][self.name_in] or "")

    def trades(
        self,
        read: Callable[[Callable[[], TradesPage]], TradesPage],
        client: Any,
        symbol: str,
        since: int,
    ) -> list[Trade]:
        """Return every trade of `symbol` from `since` (milliseconds) on, each once.

        `read` puts one question to the venue. Raises VenueUnavailableError where the venue shows
        the same page again: whether there are more trades is then unknown.
        """
        now, market = int(client.milliseconds()), client.market(symbol)
        # Trades that the venue no longer shows are found by the comparison with the ledger.
        if self.kept is not None and since < now - self.kept // _MILLISECOND:
            _log.warning(
                "trades_older_than_kept", venue=client.id, symbol=symbol, kept_days=self.kept.days
            )
        found: dict[str, Trade] = {}
        for window in self.windows(since, now):
            for page in self._pages(
                lambda where: read(partial(self.page, client, market, where)), window, client.id
            ):
                found |= page.trades
        return [
            trade
            for trade in found.values()
            if trade["symbol"] == symbol and int(trade["timestamp"]) >= since
        ]

    def _pages(
        self, ask: Callable[[Where], TradesPage], window: Where, venue: str
    ) -> Iterator[TradesPage]:
        """Yield the pages of one window, newest first, until the venue has no older one."""
        where, seen = window, set[str]()
        for _ in range(_MOST_PAGES):
            page = ask(where)
            if page.trades and page.trades.keys() <= seen:
                raise VenueUnavailableError(
                    f"{venue} lists the same trades again for {dict(where)}: "
                    "older ones are not shown"
                )
            seen |= page.trades.keys()
            yield page
            if page.older is None:
                return
            following = {**window, **page.older}
            if following == where:
                if not page.trades:
                    return
                raise VenueUnavailableError(
                    f"{venue} leads from {dict(where)} to the same page: older trades are not shown"
                )
            where = following
        raise VenueUnavailableError(
            f"{venue} has no end of trades after {_MOST_PAGES} pages from {dict(window)}"
        )


def parsed_trade(
    client: Any, key: str, row: Mapping[str, Any], market: Mapping[str, Any] | None
) -> Trade:
    """Return the ccxt trade of a row; raise ValueError where it lacks what a fill needs.

    A fee that is missing is not zero: each of these venues states it with every trade.
    """
    trade: Trade = client.parse_trade(dict(row), market)
    if not key or any(trade.get(part) in (None, "") for part in ("id", "timestamp", "symbol")):
        raise ValueError(f"a trade that lacks its id, time or symbol: {dict(row)}")
    if market is not None and trade["symbol"] != market["symbol"]:
        raise ValueError(f"a trade in {trade['symbol']}, asked for {market['symbol']}: {dict(row)}")
    # Whatever stands in Binance's isBuyer and is no boolean, ccxt reads as a sale.
    if trade.get("side") not in ("buy", "sell") or not isinstance(row.get("isBuyer", True), bool):
        raise ValueError(f"a trade whose side is {trade.get('side')}: {dict(row)}")
    for part in ("amount", "price"):
        number = _decimal(trade.get(part))
        if number is None or number <= 0:
            raise ValueError(f"a trade whose {part} is {trade.get(part)}: {dict(row)}")
    fee_of(client.id, trade)
    return trade


def _decimal(value: object) -> Decimal | None:
    """Return a finite number; None for anything else."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def trades_by_id(
    read: Callable[[Callable[[], list[Trade]]], list[Trade]], client: Any, symbol: str, since: int
) -> list[Trade]:
    """Return every trade of `symbol` from `since` (milliseconds) on, where a venue shows the oldest
    first and those from an id on (Binance). `read` puts one question to the venue.

    Raises VenueUnavailableError where it shows the same trades again: those after them are unknown.
    """
    market = client.market(symbol)

    def page(where: Where) -> list[Trade]:
        rows = list_in(
            client.privateGetMyTrades({"symbol": market["id"], "limit": _PAGE_BY_ID, **where})
        )
        return [parsed_trade(client, str(int(row["id"])), row, market) for row in rows]

    seen: dict[str, Trade] = {}
    where: Where = {"startTime": since}
    while True:
        trades = read(partial(page, where))
        fresh = [trade for trade in trades if str(trade["id"]) not in seen]
        if trades and not fresh:
            raise VenueUnavailableError(
                f"{client.id} lists the same trades again for {dict(where)}: later ones are not "
                "shown"
            )
        seen |= {str(trade["id"]): trade for trade in fresh}
        if len(trades) < _SMALLEST_PAGE:
            return list(seen.values())
        where = {"fromId": max(int(trade["id"]) for trade in fresh) + 1}


def id_number(trade_id: object) -> int:
    """Return a trade id as a number for sorting; 0 where it is no number."""
    text = str(trade_id)
    return int(text) if text.isdigit() else 0


def _kraken_windows(since: int, _now: int) -> list[Where]:
    """Return one window. `start` is in seconds and is not included, hence one second earlier."""
    return [{"start": since // 1000 - 1, "ofs": 0}]


def _kraken_page(client: Any, _market: Mapping[str, Any], where: Where) -> TradesPage:
    """Return up to 50 trades of all symbols, without the `ofs` newest.

    A trade that happens meanwhile shows another twice, and hides none.
    """
    answer = client.privatePostTradesHistory(dict(where))
    trades = {
        key: parsed_trade(client, key, {**row, "id": key}, None)
        for key, row in rows_in(answer, "result", "trades").items()
    }
    reached, count = where["ofs"] + len(trades), int(answer["result"]["count"])
    if not trades and reached < count:
        raise VenueUnavailableError(
            f"{client.id} speaks of {count} trades and lists none after {reached}"
        )
    return TradesPage(trades, {"ofs": reached} if reached < count else None)


def _bybit_windows(since: int, now: int) -> list[Where]:
    """Return windows that touch each other. The last has no end: Bybit then takes seven days."""
    starts = list(range(since, max(since, now) + 1, _BYBIT_WINDOW))
    bounded: list[Where] = [
        {"startTime": start, "endTime": start + _BYBIT_WINDOW} for start in starts[:-1]
    ]
    return [*bounded, {"startTime": starts[-1]}]


def _bybit_page(client: Any, market: Mapping[str, Any], where: Where) -> TradesPage:
    """Return up to 100 trades and the cursor to older ones."""
    asked = {"category": "spot", "symbol": market["id"], "execType": "Trade", "limit": _BYBIT_PAGE}
    answer = client.privateGetV5ExecutionList({**asked, **where})
    trades = {
        str(row["execId"]): parsed_trade(client, row["execId"], row, market)
        for row in list_in(answer, "result", "list")
    }
    cursor = answer["result"]["nextPageCursor"]
    return TradesPage(trades, {"cursor": cursor} if cursor else None)


def _okx_windows(since: int, now: int) -> list[Where]:
    """Return a window of recent trades, and one of all where `since` is longer ago.

    They begin a millisecond earlier: `begin` itself may not be included.
    """
    first = now - _OKX_RECENT
    recent = {"begin": max(since, first) - 1, _RECENT: True}
    return [recent] if since >= first else [{"begin": since - 1}, recent]


def _okx_page(client: Any, market: Mapping[str, Any], where: Where) -> TradesPage:
    """Return up to 100 trades older than the bill `after`. Only an empty page is the end."""
    ask = client.privateGetTradeFills if _RECENT in where else client.privateGetTradeFillsHistory
    asked = {name: value for name, value in where.items() if name != _RECENT}
    rows = list_in(ask({"instType": "SPOT", "instId": market["id"], **asked}), "data")
    trades = {str(row["billId"]): parsed_trade(client, row["billId"], row, market) for row in rows}
    return TradesPage(trades, {"after": str(min(map(int, trades)))} if trades else None)


def _whitebit_windows(since: int, now: int) -> list[Where]:
    """Return windows that touch each other, in whole seconds. The last has no end: that is now."""
    first = max(since, now - _WHITEBIT_KEPT // _MILLISECOND)
    starts = list(range(first, max(first, now) + 1, _WHITEBIT_WINDOW))
    dates = [{"startDate": start // 1000 - 1} for start in starts]
    bounded = [
        {**date, "endDate": (start + _WHITEBIT_WINDOW) // 1000 + 1}
        for date, start in zip(dates[:-1], starts[:-1], strict=True)
    ]
    return [{**window, "offset": 0} for window in (*bounded, dates[-1])]


def _whitebit_page(client: Any, market: Mapping[str, Any], where: Where) -> TradesPage:
    """Return up to 100 trades after the first `offset`. A page that is not full is the last.

    A trade that happens meanwhile shows another twice, and hides none.
    """
    rows = list_in(
        client.v4PrivatePostTradeAccountExecutedHistory(
            {"market": market["id"], "limit": _WHITEBIT_PAGE, **where}
        )
    )
    trades = {str(row["id"]): parsed_trade(client, str(row["id"]), row, market) for row in rows}
    is_full = len(rows) >= _WHITEBIT_PAGE
    return TradesPage(trades, {"offset": where["offset"] + len(rows)} if is_full else None)


_KRAKEN = TradePager(_kraken_windows, _kraken_page)
_BYBIT = TradePager(_bybit_windows, _bybit_page, timedelta(days=730), "orderLinkId")
_OKX = TradePager(_okx_windows, _okx_page, timedelta(days=89), "clOrdId")
_WHITEBIT = TradePager(_whitebit_windows, _whitebit_page, _WHITEBIT_KEPT, "clientOrderId")

#: Binance pages forward by trade id. ccxt's own call does that, so it has no pager.
_PAGERS: Mapping[str, TradePager | None] = {
    "binance": None,
    "okx": _OKX,
    "bybit": _BYBIT,
    "kraken": _KRAKEN,
    "whitebit": _WHITEBIT,
}


def trade_pager(venue: str) -> TradePager | None:
    """Return how the venue lists trades; None where it pages by trade id.

    Raises ConfigError where that is not known: fills might be lost.
    """
    if family_of(venue) not in _PAGERS:
        raise ConfigError(
            f"'{venue}' cannot be traded: it is not known how it lists trades over several pages, "
            f"so fills might be lost. Trade at one of {', '.join(names_of(_PAGERS))}"
        )
    return _PAGERS[family_of(venue)]
