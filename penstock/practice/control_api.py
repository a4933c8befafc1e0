"""The control calls under /practice/, which Binance does not have.

They move the clock, open accounts, arm faults, and show the journal and counts.
"""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from operator import itemgetter
from typing import Any

from pydantic import ValidationError

from penstock.core.breaks import subject_assets
from penstock.core.errors import ConfigError, DataError, PenstockError
from penstock.core.order_limits import OrderLimits, PriceBand
from penstock.core.quotes import Quote
from penstock.practice.accounts import PracticeAccount
from penstock.practice.book import TopOfBook
from penstock.practice.candle_pages import CandlePage, CandlePages
from penstock.practice.faults import Fault, Faults
from penstock.practice.market import Listing
from penstock.practice.matching import MatchingEngine

Body = dict[str, Any]

_LAST_MS = 253_370_764_800_000  # 9999-01-01
_LARGEST = Decimal(10**15)
_MOST_CANDLES = 10**6
_ASSET = re.compile("[A-Z0-9]{1,20}")
_KEY = re.compile("[A-Za-z0-9_-]{1,64}")
_SECRET = re.compile("[!-~]{1,256}")
#: What a handler raises for a body that it cannot read.
_MISUNDERSTOOD = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    ValidationError,
)


class ControlError(PenstockError):
    """A control call that cannot be carried out."""


class ControlApi:
    """Handlers of the control calls: a JSON object in, a JSON value out."""

    def __init__(
        self,
        engine: MatchingEngine,
        faults: Faults,
        requests: dict[str, int],
        refusals: dict[str, int],
        books: TopOfBook,
    ) -> None:
        self.engine = engine
        self.venue = engine.venue
        self.faults = faults
        self.requests = requests
        self.refusals = refusals
        self.books = books

    def routes(self) -> dict[str, Callable[[Body], Any]]:
        """Return the handlers by method and path."""
        return {
            "GET /practice/clock": self.clock,
            "POST /practice/clock": self.move_clock,
            "POST /practice/accounts": self.open_account,
            "GET /practice/accounts": self.accounts,
            "POST /practice/deposits": lambda body: self._transfer(body, "deposit", 1),
            "POST /practice/withdrawals": lambda body: self._transfer(body, "withdrawal", -1),
            "POST /practice/corrections": self.correct,
            "POST /practice/earn": self.move_to_earn,
            "POST /practice/instruments": self.change_instrument,
            "POST /practice/limits": self.limit_orders,
            "POST /practice/suspensions": self.suspend,
            "DELETE /practice/suspensions": self.end_suspensions,
            "POST /practice/delistings": self.delist,
            "POST /practice/prices": self.print_price,
            "DELETE /practice/prices": self.clear_prices,
            "POST /practice/books": self.show_book,
            "DELETE /practice/books": self.clear_books,
            "POST /practice/late-candles": self.delay_candles,
            "DELETE /practice/late-candles": self.end_delays,
            "POST /practice/candle-pages": self.page_candles,
            "POST /practice/losses": self.lose_order,
            "GET /practice/faults": lambda _: self.faults.report(),
            "POST /practice/faults": self.arm,
            "DELETE /practice/faults": self.clear_faults,
            "GET /practice/journal": lambda _: list(self.venue.journal.public()),
            "GET /practice/stats": self.stats,
        }

    def call(self, route: str, raw: bytes) -> Any:
        """Carry out a control call. Raises ControlError where it is wrong."""
        handler = self.routes().get(route)
        if handler is None:
            raise ControlError(f"no control call '{route}'; there are {sorted(self.routes())}")
        try:
            body = json.loads(raw) if raw else {}
            if not isinstance(body, dict):
                raise TypeError("the body is no JSON object")
            return handler(body)
        except ConfigError as error:
            raise ControlError(str(error)) from None
        except _MISUNDERSTOOD as error:
            raise ControlError(
                f"'{route}' does not understand {raw.decode(errors='replace')[:200]}: {error!r}"
            ) from None

    def clock(self, _: Body) -> Any:
        return {
            "now": self.venue.time.now_ms(),
            "mode": self.venue.time.mode.value,
            "speed": self.venue.time.speed,
        }

    def move_clock(self, body: Body) -> Any:
        """Move to `to` (ms since the epoch) or forward by `seconds`."""
        target = (
            int(_amount(body["to"]))
            if "to" in body
            else self.venue.time.now_ms() + round(_amount(body["seconds"]) * 1000)
        )
        if target > _LAST_MS:
            raise ControlError(f"the venue's time ends with the year 9998, before {target}")
        self.venue.move_clock(target)
        self.engine.advance()
        return self.clock({})

    def open_account(self, body: Body) -> Any:
        balances = {
            _named(asset, _ASSET): _amount(quantity)
            for asset, quantity in body.get("balances", {}).items()
        }
        secret = _named(body["secret"], _SECRET)
        return _shown(self.venue.open_account(_named(body["api_key"], _KEY), secret, balances))

    def accounts(self, _: Body) -> Any:
        return {key: _shown(account) for key, account in self.venue.accounts.items()}

    def _transfer(self, body: Body, reason: str, sign: int) -> Any:
        account = self.venue.accounts.get(body["api_key"])
        if account is None:
            raise ControlError(f"no practice account '{body['api_key']}': open it first")
        quantity = _amount(body["quantity"])
        if quantity <= 0:
            raise ControlError(f"a {reason} is above zero, not {quantity}")
        self.venue.change(account, _named(body["asset"], _ASSET), sign * quantity, reason)
        return _shown(account)

    def correct(self, body: Body) -> Any:
        """Change a balance by `quantity`, up or down, without a transfer.

        A venue does so when it corrects an error of its own.
        """
        account = self.venue.accounts.get(body["api_key"])
        if account is None:
            raise ControlError(f"no practice account '{body['api_key']}': open it first")
        asset = _named(body["asset"], _ASSET)
        self.venue.change(account, asset, _amount(body["quantity"]), "correction")
        return _shown(account)

    def move_to_earn(self, body: Body) -> Any:
        """Move `quantity` of an asset to Simple Earn, or back where it is below zero.

        Binance lists it as LD and the asset from then on. No transfer shows it.
        """
        account = self.venue.accounts.get(body["api_key"])
        if account is None:
            raise ControlError(f"no practice account '{body['api_key']}': open it first")
        quantity = _amount(body["quantity"])
        asset = _named(body["asset"], _ASSET)
        moves = ((asset, -quantity), (f"LD{asset}", quantity))
        for name, change in sorted(moves, key=itemgetter(1)):  # it may lack what it is to give
            self.venue.change(account, name, change, "earn")
        return _shown(account)

    def change_instrument(self, body: Body) -> Any:
        """Give a symbol another `price_tick` or `lot_step`."""
        name = _wire_name(str(body["symbol"]))
        if name not in self.engine.rules:
            raise ControlError(f"no symbol '{body['symbol']}' is listed")
        rules = self.engine.rules[name]
        tick = _amount(body.get("price_tick", rules.instrument.price_tick))
        step = _amount(body.get("lot_step", rules.instrument.lot_step))
        if tick <= 0 or step <= 0:
            raise ControlError(f"price_tick and lot_step are above zero, not {tick} and {step}")
        self.engine.rules[name] = replace(
            rules, instrument=replace(rules.instrument, price_tick=tick, lot_step=step)
        )
        return {"price_tick": str(tick), "lot_step": str(step)}

    def limit_orders(self, body: Body) -> Any:
        """Give a symbol other bounds on its orders, in the place of all that it has."""
        name = self._listing(body).wire
        bounds = {field: _amount(most) for field, most in body["bounds"].items()}
        band = body.get("price_band")
        limits = OrderLimits(
            **bounds, price_band=None if band is None else PriceBand(*map(_amount, band))
        )
        rules = self.engine.rules[name]
        self.engine.rules[name] = replace(
            rules, instrument=replace(rules.instrument, limits=limits)
        )
        return {"symbol": name}

    def suspend(self, body: Body) -> Any:
        """Suspend a symbol from now on: status BREAK, no order, no quote, no new candle.

        Its last price, its orders and its trades stay.
        """
        listing = self._listing(body)
        self.engine.advance()
        self.engine.market.suspended.setdefault(listing.symbol, self.venue.time.now_ms())
        return self.engine.market.suspended

    def end_suspensions(self, _: Body) -> Any:
        self.engine.advance()  # resting orders do not match what the time without trades had
        self.engine.market.suspended.clear()
        return []

    def delist(self, body: Body) -> Any:
        """Remove a symbol: every call with it is refused, and no answer has it any more.

        With `candles` those up to now are still served.
        """
        listing = self._listing(body)
        if body.get("candles"):
            self.suspend(body)
            self.engine.market.ended[listing.wire] = listing
        del self.engine.market.listings[listing.wire]
        return sorted(self.engine.market.listings)

    def print_price(self, body: Body) -> Any:
        """Have tickers print `price`, any text, as the symbol's last price.

        Quotes, candles and fills stay as they are.
        """
        self.books.last[self._listing(body).wire] = str(body["price"])
        return self.books.last

    def clear_prices(self, _: Body) -> Any:
        self.books.last.clear()
        return []

    def _listing(self, body: Body) -> Listing:
        listing = self.engine.market.listings.get(_wire_name(str(body["symbol"])))
        if listing is None:
            raise ControlError(f"no symbol '{body['symbol']}' is listed")
        return listing

    def show_book(self, body: Body) -> Any:
        """Show `bid` and `ask` as the symbol's best prices.

        Last prices, candles and fills stay as they are.
        """
        name = self._listing(body).wire
        size = _amount(body.get("size", 1))
        try:
            self.books.shown[name] = Quote(_amount(body["bid"]), _amount(body["ask"]), size, size)
        except DataError as error:
            raise ControlError(str(error)) from None
        return {"bid": body["bid"], "ask": body["ask"]}

    def clear_books(self, _: Body) -> Any:
        self.books.shown.clear()
        return []

    def delay_candles(self, body: Body) -> Any:
        """Show each candle of the symbol `seconds` after its close, and no open one."""
        late_ms = round(_amount(body["seconds"]) * 1000)
        if not 0 <= late_ms < _LAST_MS:
            raise ControlError(f"candles come late, not early: {body['seconds']} seconds")
        self.books.late_ms[self._listing(body).wire] = late_ms
        return self.books.late_ms

    def end_delays(self, _: Body) -> Any:
        self.books.late_ms.clear()
        return []

    def page_candles(self, body: Body) -> Any:
        """Answer candle requests within these limits from now on."""
        newest = body.get("newest")
        self.books.candle_pages = CandlePages(
            CandlePage(body.get("page", CandlePage.FIRST)),
            _count(body.get("most", CandlePages.most)),
            None if newest is None else _count(newest),
        )
        return {}

    def lose_order(self, body: Body) -> Any:
        """Cancel an open order and hide it: no query finds it from then on."""
        account = self.venue.accounts[body["api_key"]]
        order = account.orders[account.order_ids[body["client_order_id"]]]
        if order.status.is_open:
            self.engine.cancel(account, order)
        order.hidden_until = math.inf
        return _shown(account)

    def arm(self, body: Body) -> Any:
        self.faults.arm(Fault(**body))
        return self.faults.report()

    def clear_faults(self, _: Body) -> Any:
        self.faults.clear()
        return []

    def stats(self, _: Body) -> Any:
        accounts = self.venue.accounts.values()
        return {
            "requests": dict(sorted(self.requests.items())),
            "refusals": dict(sorted(self.refusals.items())),
            "symbols": len(self.engine.market.listings),
            "accounts": len(self.venue.accounts),
            "orders": sum(len(account.orders) for account in accounts),
            "trades": sum(
                len(trades) for account in accounts for trades in account.trades.values()
            ),
            "journal_entries": len(self.venue.journal.entries),
        }


def _named(value: Any, legal: re.Pattern[str]) -> str:
    """Return a name that the pattern allows."""
    if not isinstance(value, str) or not legal.fullmatch(value):
        raise ControlError(f"{value!r} does not match {legal.pattern}")
    return value


def _amount(value: Any) -> Decimal:
    """Return a finite amount of at most 10^15 units. A boolean is none."""
    amount = Decimal("nan" if isinstance(value, bool) else value)
    if not amount.is_finite() or abs(amount) > _LARGEST:
        raise ControlError(f"an amount is a number of at most {_LARGEST:f}, not {str(value)[:50]}")
    return amount


def _count(value: Any) -> int:
    """Return a number of candles."""
    count = int(_amount(value))
    if not 0 < count <= _MOST_CANDLES:
        raise ControlError(f"a number of candles is from 1 to {_MOST_CANDLES}, not {count}")
    return count


def _wire_name(symbol: str) -> str:
    """Return a symbol as Binance writes it: "BTCUSDT" for "BTC/USDT" and for itself."""
    return "".join(subject_assets(symbol))


def _shown(account: PracticeAccount) -> dict[str, dict[str, str]]:
    """Return the account's balances as text."""
    return {
        asset: {"free": str(balance.free), "locked": str(balance.locked)}
        for asset, balance in sorted(account.balances.assets.items())
        if balance.total
    }
