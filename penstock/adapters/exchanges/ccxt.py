"""Trading on a ccxt venue: on its test network unless `live=True`, with every order sent once.

Every error is one of Penstock's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import structlog

from penstock.adapters.exchanges.account_balances import earn_balance, read_balances, tradable
from penstock.adapters.exchanges.account_fills import AccountFills
from penstock.adapters.exchanges.answered_fills import answered_fills
from penstock.adapters.exchanges.ccxt_market import Answer, CcxtMarketData
from penstock.adapters.exchanges.counted_nonces import keep_in_order
from penstock.adapters.exchanges.fees import fee_parameters
from penstock.adapters.exchanges.order_expiry import RequestAge
from penstock.adapters.exchanges.order_lookup import Question, order_lookup
from penstock.adapters.exchanges.order_reports import OrderReports
from penstock.adapters.exchanges.quantity_units import require_base_units
from penstock.adapters.exchanges.refusals import Meaning
from penstock.adapters.exchanges.transfer_pages import Direction, transfer_pager
from penstock.core.amounts import plain
from penstock.core.clock import MachineClock
from penstock.core.earn_balances import EarnBalance
from penstock.core.errors import (
    ConfigError,
    NotSentError,
    OrderNotFoundError,
    UnknownSymbolError,
    VenueError,
    VenueRejectedError,
    VenueUnavailableError,
)
from penstock.core.machine import SYSTEM_CLOCK
from penstock.core.orders import Fill, OrderReport, OrderRequest, OrderState, OrderType
from penstock.core.transfers import Transfer

#: Venues show about three months of transfers at once.
_TRANSFERS_KEPT = timedelta(days=89)
_log = structlog.get_logger(__name__)


class CcxtExchange(CcxtMarketData):
    """An account on a ccxt venue (Exchange port). Reads are retried; `submit` and `cancel` never.

    Without `live` the venue's test network is used. Raises ConfigError for a venue that has none,
    for one that is not in the table of order lookups, and for one whose keys have a passphrase
    where no `password` is given. With `base_url` every request goes to a practice exchange, none to
    the venue.
    """

    def __init__(
        self,
        venue: str,
        api_key: str,
        secret: str,
        *,
        password: str | None = None,
        live: bool = False,
        base_url: str | None = None,
        proxy: str | None = None,
        timeout_seconds: float = 10.0,
        rate_limit_ms: float | None = None,
        read_attempts: int = 4,
        retry_wait_seconds: float = 0.25,
        clock: MachineClock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(
            venue,
            sandbox=not live,
            base_url=base_url,
            proxy=proxy,
            timeout_seconds=timeout_seconds,
            rate_limit_ms=rate_limit_ms,
            read_attempts=read_attempts,
            retry_wait_seconds=retry_wait_seconds,
            clock=clock,
            credentials={
                "apiKey": api_key,
                "secret": secret,
                **({} if password is None else {"password": password}),
            },
        )
        if not password and self.client.requiredCredentials.get("password"):
            raise ConfigError(
                f"{venue} asks for the passphrase of the API key too: name its variable as "
                "password_env beside api_key_env in configs/environments.yaml"
            )
        self._lookup = order_lookup(venue)
        self._reports = OrderReports(venue, self._lookup, self._refusals, self.session)
        self._fills = AccountFills(self, self._reports)
        self._transfers = transfer_pager(venue)
        # Unlike a test network, the practice exchange has transfers.
        if base_url is not None:
            self.client.urls["api"].setdefault("sapi", f"{base_url}/sapi/v1")
        self._age = RequestAge(venue, self.client)
        keep_in_order(venue, self.client)

    def balances(self) -> Mapping[str, Decimal]:
        return self._balances("total")

    def free_balances(self) -> Mapping[str, Decimal]:
        """Return what no working order holds, by asset; assets without any are absent."""
        return self._balances("free")

    def earn_balances(self) -> Sequence[EarnBalance]:
        """Return what is in earn programmes. Nothing of it is in `balances`."""
        listed = self._listed_balances("total")
        found = (earn_balance(self.venue, *each, self._assets()) for each in listed.items())
        return [each for each in found if each is not None and each.quantity]

    def _balances(self, which: str) -> Mapping[str, Decimal]:
        return tradable(self.venue, self._listed_balances(which), self._assets())

    def _listed_balances(self, which: str) -> Mapping[str, Decimal]:
        return self.read("balances", lambda: read_balances(self.client, self.venue, which))

    def _assets(self) -> set[str]:
        """Return the assets of the venue's markets, which the balances' call has loaded."""
        markets = (self.client.markets or {}).values()
        return {str(market[side]) for market in markets for side in ("base", "quote")}

    def submit(self, order: OrderRequest) -> OrderReport:
        self.require_symbol(order.symbol)
        price = None if order.type is OrderType.MARKET else self._exact("price", order, order.price)
        quantity = self._exact("quantity", order, order.quantity)
        self.understood(
            f"order {order.client_order_id}", partial(require_base_units, self.venue, self.client)
        )
        side, kind, named = order.side.value, order.type.value, order.client_order_id
        with self._age.signed_as_of(order.asked_at) as dated:
            details = {"clientOrderId": named, **dated, **fee_parameters(self.venue)}
            report = self._once(
                f"order {named}",
                lambda: self._placed(
                    self.client.create_order(order.symbol, kind, side, quantity, price, details),
                    order,
                ),
            )
        if report.client_order_id != named:
            raise VenueUnavailableError(
                f"{self.venue}, order {named}: it answers with order {report.venue_order_id}, "
                f"'{report.client_order_id}'"
            )
        return report

    def _placed(self, answer: Mapping[str, Any], order: OrderRequest) -> OrderReport:
        """Return the report of the answer to a new order, with the trades that it shows."""
        report = self._reports.of(answer, order.client_order_id, order.symbol)
        fills = answered_fills(answer.get("info"), order, report.filled_quantity)
        return replace(report, fills=fills)

    def _once(self, call: str, ask: Callable[[], Answer]) -> Answer:
        """Return `ask()`, which changes something at the venue.

        Only the answer to the request that changes it counts. For some venues ccxt sends another
        request afterwards: an error of that one tells nothing of the first. UnknownSymbolError
        means that nothing was sent.
        """
        try:
            return self.understood(call, ask)
        except VenueError as error:
            last = self.session.last
            if last.acted and type(error) is not VenueUnavailableError:
                raise VenueUnavailableError(
                    f"{error} (of a later request: what the first one did is unknown)"
                ) from error
            if last.sent and isinstance(error, UnknownSymbolError):
                raise VenueRejectedError(str(error)) from error
            raise

    def _exact(self, what: str, order: OrderRequest, value: Decimal | None) -> str:
        """Return the number as text.

        Raises NotSentError where ccxt would silently round it to the venue's step.
        """
        if value is None or value <= 0:
            raise NotSentError(
                f"order {order.client_order_id}: {what} {value} is not above zero; nothing was sent"
            )
        to_precision = (
            self.client.amount_to_precision
            if what == "quantity"
            else self.client.price_to_precision
        )
        sendable = self.understood(
            f"order {order.client_order_id}",
            lambda: Decimal(to_precision(order.symbol, f"{value:f}")),
        )
        if sendable != value:
            raise NotSentError(
                f"order {order.client_order_id}: {what} {plain(value)} is not on the venue's step "
                f"(nearest {plain(sendable)}): round it first; nothing was sent"
            )
        return f"{value:f}"

    def find_order(self, client_order_id: str, symbol: str) -> OrderReport:
        self.require_symbol(symbol)
        denial: OrderNotFoundError | None = None
        for question in self._lookup.questions:
            try:
                found = self.read(
                    f"order {client_order_id}",
                    partial(self._asked, question, client_order_id, symbol),
                )
            except OrderNotFoundError as error:  # the other lists may have it
                denial = error
            else:
                if found:
                    return found[0]
        raise denial or OrderNotFoundError(
            f"{self.venue}, order {client_order_id}: "
            "it is neither among its open nor its ended orders"
        )

    def _asked(self, question: Question, name: str, symbol: str) -> list[OrderReport]:
        """Return the report of the order, or nothing.

        Raises VenueUnavailableError where the venue answers with other orders: it did not search
        for ours. A single order without a name is ours, for the request has our name alone.
        """
        orders = self._lookup.denied_by_venue(lambda: question(self.client, name, symbol))
        if not self._lookup.by_list:
            for order in orders:
                if (other := self._lookup.name_of(order)) not in ("", name):
                    raise VenueUnavailableError(
                        f"{self.venue}, order {name}: asked for it by name, "
                        f"it answers with order {order['id']}, '{other}'"
                    )
            return [self._reports.of(order, name, symbol) for order in orders]
        ours = {str(order["id"]): order for order in orders if self._lookup.name_of(order) == name}
        if len(ours) > 1:
            raise VenueError(
                f"{self.venue} has orders {', '.join(ours)} under the one name {name}: "
                "compare them with the ledger"
            )
        if orders and not ours:
            raise VenueUnavailableError(
                f"{self.venue}, order {name}: asked for it by name, it lists others ({len(orders)})"
            )
        return [self._reports.of(order, name, symbol) for order in ours.values()]

    def cancel(self, client_order_id: str, symbol: str, venue_order_id: str = "") -> OrderReport:
        self.require_symbol(symbol)
        if not client_order_id:
            return self._cancel_by_id(venue_order_id, symbol)
        answer = self._ask_to_cancel(
            client_order_id, lambda: self._lookup.cancel(self.client, client_order_id, symbol)
        )
        if not isinstance(answer, dict) or answer.get("status") is None:
            # Some venues only confirm that they took the cancellation.
            return self.find_order(client_order_id, symbol)
        report = self.understood(
            f"cancel {client_order_id}", lambda: self._reports.of(answer, client_order_id, symbol)
        )
        is_ours = report.client_order_id == client_order_id
        return report if is_ours else self.find_order(client_order_id, symbol)

    def _cancel_by_id(self, venue_order_id: str, symbol: str) -> OrderReport:
        """Cancel an order that has no client order id of ours.

        An order that is no longer among the working ones counts as cancelled.
        """
        answer = self._ask_to_cancel(
            venue_order_id, lambda: self.client.cancel_order(venue_order_id, symbol)
        )
        if isinstance(answer, dict) and answer.get("status") is not None:
            return self.understood(
                f"cancel {venue_order_id}", lambda: self._reports.of(answer, "", symbol)
            )
        works = [report for report in self.open_orders() if report.venue_order_id == venue_order_id]
        return (
            works[0]
            if works
            else OrderReport("", venue_order_id, symbol, OrderState.CANCELED, Decimal(0))
        )

    def _ask_to_cancel(self, name: str, ask: Callable[[], Any]) -> Any:
        """Return the answer to a cancellation.

        Raises OrderNotFoundError also where the venue answers that the order has ended.
        """

        def asked() -> Any:
            answer = self._lookup.denied_by_venue(ask)
            self._reports.require_no_refusal(answer, name)
            return answer

        try:
            return self._once(f"cancel {name}", asked)
        except VenueRejectedError as error:
            if self._meaning(error.code) is Meaning.ENDED:
                raise OrderNotFoundError(
                    f"{error} (it has ended: nothing is left to cancel)", error.code
                ) from error
            raise

    def _meaning(self, code: str) -> Meaning | None:
        return None if self._refusals is None else self._refusals.meanings.get(code)

    def open_orders(self) -> Sequence[OrderReport]:
        self.require_markets()
        return self.read(
            "open orders",
            lambda: [
                self._reports.of(order, "", order["symbol"])
                for order in self._lookup.working(self.client)
            ],
        )

    def fills(self, symbol: str, since: datetime) -> Sequence[Fill]:
        self.require_symbol(symbol)
        return self._fills.since(symbol, since)

    def transfers(self, since: datetime) -> Sequence[Transfer] | None:
        if not (self.client.has.get("fetchDeposits") and self.client.has.get("fetchWithdrawals")):
            return None
        self.require_markets()
        first = max(since, self.now() - _TRANSFERS_KEPT)
        try:
            found = [
                transfer
                for direction in Direction
                for transfer in self._transfers.transfers(
                    partial(self.read, f"{direction}s"),
                    self.client,
                    direction,
                    round(first.timestamp() * 1000),
                )
            ]
        except (NotSentError, VenueRejectedError) as error:
            # A test network has no such call, and the keys may not allow it.
            _log.warning("transfers_not_reported", venue=self.venue, reason=str(error))
            return None
        return sorted(found, key=lambda each: each.at)
