"""The orders of a certification: sent under names of its own, followed, and ended with it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, ROUND_UP, Decimal

from penstock.core.amounts import plain, to_step
from penstock.core.clock import MachineClock
from penstock.core.errors import (
    DataError,
    NotSentError,
    OrderNotFoundError,
    PenstockError,
    RiskError,
    UnknownSymbolError,
    VenueError,
    VenueRejectedError,
)
from penstock.core.instruments import Instrument
from penstock.core.orders import Fill, OrderReport, OrderRequest, OrderState, OrderType, Side
from penstock.execution.kill_switch import KillSwitch
from penstock.ports import VenueAccount

#: How the names of a certification's orders begin: a later run knows what an earlier one left.
MARK = "ce271f1ed0"
#: A resting order's price, as a share of the best bid.
_FAR = Decimal("0.9")
#: How many times the venue's minimum an order is: what a fee leaves of it can be sold again.
_ROOM = 2
_MARGIN = timedelta(minutes=1)
#: What a venue may round off a balance: so much, or this share of what was traded.
_ROUNDING = Decimal("1e-8")
_ROUNDED_SHARE = Decimal("0.0001")


class DifferentError(PenstockError):
    """The venue answered otherwise than expected."""


class HaltedError(RiskError):
    """The kill switch is set: the order was not sent."""


@dataclass
class MarkedOrders:
    """Small orders in one symbol, whose names begin with MARK."""

    exchange: VenueAccount
    """The account."""
    symbol: str
    """What is traded, such as "BTC/USDT"."""
    names: Iterator[str]
    """Client order ids, which begin with MARK."""
    clock: MachineClock
    """Waits, measures waiting, and dates the orders."""
    patience_seconds: float = 30.0
    """How long the venue may take to show what became of an order."""
    poll_seconds: float = 1.0
    """The time between two questions about it."""
    switch: KillSwitch | None = None
    """Read before each order; None where nothing leaves (a replay)."""
    sent: list[str] = field(default_factory=list)
    """The client order ids that left, or were about to."""
    answered: set[str] = field(default_factory=set)
    """Those of them that the venue answered."""
    instrument: Instrument = field(init=False)
    """The venue's rules, once `begin` has read them."""
    begun: datetime = field(init=False)
    """The venue's time at the beginning."""
    held: Decimal = field(init=False)
    """What the account had of the base asset at the beginning."""

    def begin(self) -> None:
        """Read the symbol's rules and what is held.

        Raises DifferentError where the venue does not list it.
        """
        listed = self.exchange.instruments()
        if self.symbol not in listed:
            raise DifferentError(f"{self.symbol} is not listed")
        self.instrument, self.begun = listed[self.symbol], self.exchange.now()
        self.held = self._held()

    def _held(self) -> Decimal:
        return self.exchange.balances().get(self.instrument.base, Decimal(0))

    def fills(self) -> Sequence[Fill]:
        """Return the symbol's trades since the beginning."""
        return self.exchange.fills(self.symbol, self.begun - _MARGIN)

    def prices(self) -> tuple[Decimal, Decimal]:
        """Return the best bid and ask."""
        quote = self.exchange.quotes([self.symbol]).get(self.symbol)
        if quote is None:
            raise DifferentError(f"{self.symbol} has no bid or no ask")
        return quote.bid, quote.ask

    def far_price(self) -> Decimal:
        """Return a price at which a buy order rests."""
        return self.instrument.round_price(self.prices()[0] * _FAR, ROUND_DOWN)

    def size(self) -> Decimal:
        """Return the quantity of an order, above the venue's minimums also at the far price."""
        rules, price = self.instrument, self.far_price()
        least = max(rules.min_quantity, rules.min_notional / price)
        lots = (least * _ROOM / rules.lot_step).to_integral_value(rounding=ROUND_UP)
        return lots * rules.lot_step

    def lots(self, quantity: Decimal) -> Decimal:
        """Return the quantity in whole lots."""
        return self.instrument.round_lots(quantity)

    def resting(self) -> OrderRequest:
        """Return a buy order that is far from the market."""
        return self.request(OrderType.LIMIT, Side.BUY, self.size(), self.far_price())

    def request(
        self, kind: OrderType, side: Side, quantity: Decimal, price: Decimal | None = None
    ) -> OrderRequest:
        """Return an order under the next name."""
        return OrderRequest(next(self.names), self.symbol, side, kind, quantity, price)

    def submit(self, order: OrderRequest) -> OrderReport:
        """Send the order once. It is noted before it leaves.

        Raises HaltedError where the kill switch forbids it: a sell of what the run has bought
        passes where what reduces does.
        """
        if self.switch is not None:
            require_allowed(self.switch, reduces=order.side is Side.SELL)
        self.sent.append(order.client_order_id)
        try:
            report = self.exchange.submit(replace(order, asked_at=self.clock.now()))
        except (VenueRejectedError, NotSentError, UnknownSymbolError):
            self.answered.add(order.client_order_id)
            raise
        self.answered.add(order.client_order_id)
        return report

    def trade(self, side: Side, quantity: Decimal) -> list[Fill]:
        """Trade at the market; return the trades, which make up the order and what the balance
        changed by. Raises DifferentError where they do not.
        """
        base = self.instrument.base
        before = self._held()
        order = self.request(OrderType.MARKET, side, quantity)
        self.submit(order)
        ended = self.until(order.client_order_id, {OrderState.FILLED})
        fills = self.fills_of(order.client_order_id, ended.filled_quantity)
        change = sum((_base_change(fill, base) for fill in fills), Decimal(0))
        rounding = max(_ROUNDING, quantity * _ROUNDED_SHARE)
        self.wait_for(
            lambda: abs(self._held() - before - change) <= rounding,
            f"{base} did not change by {to_step(change)}",
        )
        return fills

    def until(self, name: str, states: set[OrderState]) -> OrderReport:
        """Return the order's report once it is in one of these states."""
        seen: list[OrderReport] = []

        def asked() -> bool:
            try:
                seen.append(self.exchange.find_order(name, self.symbol))
            except OrderNotFoundError:
                return False
            return seen[-1].state in states

        wanted = ", ".join(sorted(states))
        self.wait_for(asked, lambda: f"it is {seen[-1].state if seen else 'unseen'}, not {wanted}")
        return seen[-1]

    def fills_of(self, name: str, quantity: Decimal) -> list[Fill]:
        """Return the order's trades once they make up the quantity."""
        found: list[Fill] = []

        def asked() -> bool:
            fills = self.fills()
            found[:] = [fill for fill in fills if fill.client_order_id == name]
            return sum((fill.quantity for fill in found), Decimal(0)) == quantity

        self.wait_for(asked, lambda: f"{len(found)} trades do not make up {plain(quantity)}")
        return found

    def wait_for(self, asked: Callable[[], bool], otherwise: str | Callable[[], str]) -> None:
        """Ask again and again. Raises DifferentError with `otherwise` where that takes too long."""
        begun = self.clock.elapsed_seconds()
        while not asked():
            if self.clock.elapsed_seconds() - begun >= self.patience_seconds:
                raise DifferentError(otherwise if isinstance(otherwise, str) else otherwise())
            self.clock.sleep(self.poll_seconds)

    def bought(self) -> Decimal:
        """Return what the run's own trades have left in base units."""
        return sum(
            (
                _base_change(fill, self.instrument.base)
                for fill in self.fills()
                if fill.client_order_id in self.sent
            ),
            Decimal(0),
        )

    def cancel_marked(self) -> list[str]:
        """Cancel every working order that a certification has sent; return what still works once
        the patience ends. A cancellation that is refused or not answered is asked for again.
        """
        begun = self.clock.elapsed_seconds()
        while True:
            working = [
                report
                for report in self.exchange.open_orders()
                if report.client_order_id.startswith(MARK)
            ]
            if not working or self.clock.elapsed_seconds() - begun >= self.patience_seconds:
                return [report.client_order_id for report in working]
            for report in working:
                with suppress(VenueError):  # the next look shows whether it works
                    self.exchange.cancel(report.client_order_id, report.symbol)
            self.clock.sleep(self.poll_seconds)

    def end(self) -> tuple[str, ...]:
        """End what is open and sell what was bought; return what is left, and why.

        An order that left without an answer is asked for until the patience ends: it may arrive
        late.
        """
        doubtful: dict[str, str] = {}
        for name in self.sent:
            try:
                if name not in self.answered:
                    self._arrived(name)
                self.exchange.cancel(name, self.symbol)
            except VenueRejectedError:
                continue  # it has ended, or there is none
            except VenueError as error:
                doubtful[name] = str(error)
        if not self.sent:
            return ()
        left = [f"order {name}: {error}" for name, error in doubtful.items()]
        try:
            working = self.cancel_marked()
            left = [
                f"order {name}: {error}"
                for name, error in doubtful.items()
                if name not in working and not self._has_ended(name)
            ]
            left = [f"order {name} works" for name in working] + left
            quantity = self.lots(self.bought())
            rules, bid = self.instrument, self.prices()[0]
            if quantity >= rules.min_quantity and quantity * bid >= rules.min_notional:
                self.trade(Side.SELL, quantity)
            more = self.lots(self._held() - self.held)
            if more >= rules.min_quantity and more * bid >= rules.min_notional:
                left.append(f"{to_step(more)} {rules.base} more than at the beginning")
        except HaltedError as error:
            left.append(f"{plain(quantity)} {rules.base} that it bought: {error}")
        except (DifferentError, VenueError, DataError) as error:
            left.append(str(error))
        return tuple(left)

    def _arrived(self, name: str) -> None:
        try:
            self.until(name, set(OrderState))
        except DifferentError:
            return  # it never arrived

    def _has_ended(self, name: str) -> bool:
        try:
            return self.exchange.find_order(name, self.symbol).state.is_final
        except OrderNotFoundError:
            return True
        except VenueError:
            return False


def require_allowed(switch: KillSwitch, *, reduces: bool) -> None:
    """Raise HaltedError where the kill switch forbids an order now."""
    halt = switch.read()
    if halt.forbids(reduces=reduces):
        raise HaltedError(f"the kill switch is set: {halt.reason} (by {halt.by})")


def _base_change(fill: Fill, base: str) -> Decimal:
    """Return by how much a trade changes the balance of the base asset."""
    fee = fill.fee if fill.fee_asset == base else Decimal(0)
    return fill.side.sign * fill.quantity - fee
