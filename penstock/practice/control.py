"""The client of the practice exchange's control calls.

It moves the clock, opens accounts, arms faults and reads the venue's journal.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import requests

from penstock.core.errors import ConfigError, VenueUnavailableError
from penstock.practice.candle_pages import CandlePages
from penstock.practice.faults import Fault, FaultKind


class PracticeControl:
    """A client of the practice exchange at `url`, with the token that its control calls ask for.

    Its calls raise ConfigError where the exchange refuses, VenueUnavailableError where it does not
    answer.
    """

    def __init__(self, url: str, timeout_seconds: float = 30.0, *, token: str = "") -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout_seconds
        self._session = requests.Session()
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"
        self._session.trust_env = False  # never through a proxy: the server is on this machine

    def now(self) -> datetime:
        """Return the venue's time."""
        return _instant(self._call("GET", "clock")["now"])

    def step(
        self, *, to: datetime | None = None, seconds: float | timedelta | None = None
    ) -> datetime:
        """Move the venue's time, match resting orders, and return the new time.

        Give either the instant `to` or the `seconds` to go forward by; else ConfigError.
        """
        if (to is None) == (seconds is None):
            raise ConfigError("step the clock either to an instant or by seconds")
        if to is not None:
            return _instant(
                self._call("POST", "clock", {"to": round(to.timestamp() * 1000)})["now"]
            )
        amount = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        return _instant(self._call("POST", "clock", {"seconds": amount})["now"])

    def create_account(
        self, api_key: str, secret: str, balances: Mapping[str, Decimal | int | str]
    ) -> None:
        """Open an account; opening it again changes nothing."""
        shown = {asset: str(quantity) for asset, quantity in balances.items()}
        self._call("POST", "accounts", {"api_key": api_key, "secret": secret, "balances": shown})

    def balances(self, api_key: str) -> dict[str, Decimal]:
        """Return the total of every asset of an account."""
        balances = self._call("GET", "accounts").get(api_key)
        if balances is None:
            raise ConfigError(f"no practice account '{api_key}': open it first")
        return {
            asset: Decimal(entry["free"]) + Decimal(entry["locked"])
            for asset, entry in balances.items()
        }

    def deposit(self, api_key: str, asset: str, quantity: Decimal | int | str) -> None:
        """Add to a balance from outside."""
        self._call(
            "POST", "deposits", {"api_key": api_key, "asset": asset, "quantity": str(quantity)}
        )

    def withdraw(self, api_key: str, asset: str, quantity: Decimal | int | str) -> None:
        """Take from a balance."""
        self._call(
            "POST", "withdrawals", {"api_key": api_key, "asset": asset, "quantity": str(quantity)}
        )

    def correct(self, api_key: str, asset: str, quantity: Decimal | int | str) -> None:
        """Change a balance, up or down, without a transfer that would explain it."""
        self._call(
            "POST", "corrections", {"api_key": api_key, "asset": asset, "quantity": str(quantity)}
        )

    def earn(self, api_key: str, asset: str, quantity: Decimal | int | str) -> None:
        """Move an asset to Simple Earn, as Binance's automatic subscription does; below zero: back.

        It is listed as LD and the asset, and no transfer shows it.
        """
        self._call("POST", "earn", {"api_key": api_key, "asset": asset, "quantity": str(quantity)})

    def change_instrument(self, symbol: str, **steps: Decimal | str) -> None:
        """Give a symbol another `price_tick` or `lot_step`."""
        self._call(
            "POST",
            "instruments",
            {"symbol": symbol, **{name: str(step) for name, step in steps.items()}},
        )

    def limit_orders(
        self,
        symbol: str,
        *,
        market_quantity: Decimal | str | None = None,
        max_notional: Decimal | str | None = None,
        apply_max_to_market: bool = False,
        position: Decimal | str | None = None,
        price_band: Sequence[Decimal | str] | None = None,
    ) -> None:
        """Bound a symbol's orders as Binance's filters do; what is not given is not bounded.

        `price_band` has the four multiples of PriceBand.
        """
        notionals = {"limit_notional": max_notional}
        if apply_max_to_market:
            notionals["market_notional"] = max_notional
        bounds = {"market_quantity": market_quantity, "position": position, **notionals}
        body = {name: str(most) for name, most in bounds.items() if most is not None}
        band = None if price_band is None else [str(multiple) for multiple in price_band]
        self._call("POST", "limits", {"symbol": symbol, "bounds": body, "price_band": band})

    def suspend(self, symbol: str) -> None:
        """Suspend a symbol from now on (status BREAK): no order, no quote, no new candle."""
        self._call("POST", "suspensions", {"symbol": symbol})

    def end_suspensions(self) -> None:
        """Let every suspended symbol trade again."""
        self._call("DELETE", "suspensions")

    def delist(self, symbol: str, *, candles: bool = False) -> None:
        """Remove a symbol for good: no answer has it any more, but its `candles` where wanted."""
        self._call("POST", "delistings", {"symbol": symbol, "candles": candles})

    def print_price(self, symbol: str, price: Decimal | int | str) -> None:
        """Have tickers print this last price of a symbol, right or wrong, until it is cleared."""
        self._call("POST", "prices", {"symbol": symbol, "price": str(price)})

    def clear_prices(self) -> None:
        """Have tickers print the candles' last prices again."""
        self._call("DELETE", "prices")

    def show_book(self, symbol: str, bid: Decimal | int | str, ask: Decimal | int | str) -> None:
        """Quote a symbol at `bid` and `ask` from now on. Fills stay at the candles' prices."""
        self._call("POST", "books", {"symbol": symbol, "bid": str(bid), "ask": str(ask)})

    def clear_books(self) -> None:
        """Quote every symbol from its candles again."""
        self._call("DELETE", "books")

    def delay_candles(self, symbol: str, seconds: float) -> None:
        """Show each candle of a symbol `seconds` after its close from now on, and no open one."""
        self._call("POST", "late-candles", {"symbol": symbol, "seconds": seconds})

    def end_delays(self) -> None:
        """Show every symbol's candles at once again."""
        self._call("DELETE", "late-candles")

    def page_candles(self, pages: CandlePages) -> None:
        """Answer candle requests within these limits from now on."""
        body = {"page": pages.page.value, "most": pages.most, "newest": pages.newest}
        self._call("POST", "candle-pages", body)

    def lose_order(self, api_key: str, client_order_id: str) -> None:
        """Cancel an open order and hide it from all queries, as if it had never been placed."""
        self._call("POST", "losses", {"api_key": api_key, "client_order_id": client_order_id})

    def arm(self, fault: Fault) -> None:
        """Arm a fault."""
        self._call("POST", "faults", fault.model_dump(mode="json"))

    def arm_next(
        self, kind: FaultKind, method: str = "", path: str = "/api/", **details: Any
    ) -> None:
        """Arm a fault that strikes the next matching call only."""
        self.arm(Fault(kind=kind, method=method, path=path, times=1, **details))

    def clear_faults(self) -> None:
        """Disarm all faults."""
        self._call("DELETE", "faults")

    def faults(self) -> list[dict[str, Any]]:
        """Return the armed faults with how many calls each matched and struck."""
        return list(self._call("GET", "faults"))

    def journal(self) -> list[dict[str, Any]]:
        """Return the venue's journal, oldest entry first. Decimals are text."""
        return list(self._call("GET", "journal"))

    def stats(self) -> dict[str, Any]:
        """Return counts: requests by route, refusals by route, status and code, symbols, accounts,
        orders, trades, journal entries.
        """
        return dict(self._call("GET", "stats"))

    def _call(self, method: str, name: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            answer = self._session.request(
                method, f"{self.url}/practice/{name}", json=body, timeout=self._timeout
            )
            value = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise VenueUnavailableError(
                f"no answer from the practice exchange at {self.url}: {error}"
            ) from error
        if answer.status_code != 200:
            raise ConfigError(f"the practice exchange refused: {value.get('error', value)}")
        return value


def _instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
