"""A series of small orders at a venue, step by step: what it is asked, and what it must answer.

It shows whether the adapter and the venue understand each other: an order is placed, looked up,
listed and cancelled, one is refused, one is filled, in part and whole, and the answer to one is
lost. Recording the answers is for penstock.adapters, and what is certified for penstock.pipeline.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from penstock.core.amounts import plain, to_step
from penstock.core.errors import (
    DataError,
    OrderNotFoundError,
    PenstockError,
    RateLimitedError,
    VenueError,
    VenueRejectedError,
    VenueUnavailableError,
)
from penstock.core.orders import OrderState, OrderType, Side
from penstock.execution.certification.marked_orders import DifferentError, MarkedOrders
from penstock.ports import AnswerRecorder


class StepResult(StrEnum):
    """What came of a step."""

    AS_EXPECTED = "as expected"
    DIFFERENT = "different"
    """The venue answered otherwise. The script ends."""
    NOT_SHOWN = "not shown"
    """The venue or the market gave no occasion for it."""


@dataclass(frozen=True)
class CertifiedStep:
    """One step of the script."""

    name: str
    """What was tried."""
    result: StepResult
    """What came of it."""
    seen: str
    """What the venue showed."""


class _NotShownError(PenstockError):
    """There was no occasion for the step."""


@dataclass
class LifeScript:
    """The script at one account. Each run needs a new one."""

    orders: MarkedOrders
    """Its orders."""
    recorder: AnswerRecorder
    """What records the answers."""
    most: Decimal
    """What an order may cost at most (quote units)."""
    tell: Callable[[CertifiedStep], None] = lambda _step: None
    """Hears of each step."""
    steps: list[CertifiedStep] = field(default_factory=list)
    """The steps that were made."""
    left: tuple[str, ...] = ()
    """What is left at the venue after the run."""

    @property
    def is_as_expected(self) -> bool:
        """Whether every step was made, none differed, and nothing is left."""
        different = any(step.result is StepResult.DIFFERENT for step in self.steps)
        return len(self.steps) == len(self._script()) and not different and not self.left

    def run(self) -> None:
        """Make every step until one differs, then end what is open and sell what was bought.

        The end is the same where the run is interrupted; what interrupted it is raised afterwards.
        An end that is interrupted begins again, once.
        """
        try:
            for name, step in self._script():
                if not self._made(name, step):
                    break
        finally:
            self.recorder.begin("end")
            self.left = ("not known: the end was interrupted",)
            try:
                self.left = self.orders.end()
            except KeyboardInterrupt:  # once more: only a second one stops the end
                self.left = self.orders.end()
                raise

    def _script(self) -> tuple[tuple[str, Callable[[], str]], ...]:
        return (
            ("read the rules", self._read_rules),
            ("read the account", self._read_account),
            ("place", self._place),
            ("look up", lambda: self._looked_up(OrderState.OPEN)),
            ("list", self._list),
            ("cancel", self._cancel),
            ("look up the cancelled", lambda: self._looked_up(OrderState.CANCELED)),
            ("cancel again", self._cancel_again),
            ("look up no order", self._look_up_none),
            ("refuse", self._refuse),
            ("lose an answer", self._lose),
            ("fill in part", self._fill_in_part),
            ("fill", self._fill),
            ("sell", self._sell),
        )

    def _made(self, name: str, step: Callable[[], str]) -> bool:
        """Make a step and keep what came of it; return whether the script goes on."""
        self.recorder.begin(name)
        try:
            result, seen = StepResult.AS_EXPECTED, step()
        except _NotShownError as error:
            result, seen = StepResult.NOT_SHOWN, str(error)
        except (DifferentError, VenueError, DataError) as error:
            result, seen = StepResult.DIFFERENT, str(error)
        self.steps.append(CertifiedStep(name, result, seen))
        self.tell(self.steps[-1])
        return result is not StepResult.DIFFERENT

    def _read_rules(self) -> str:
        self.orders.begin()
        self.orders.cancel_marked()  # what an earlier run may have left
        (bid, ask), size = self.orders.prices(), self.orders.size()
        if size * ask > self.most:
            raise DifferentError(
                f"the smallest order that can be sold again costs {plain(size * ask)}, "
                f"and {plain(self.most)} is the most that is allowed"
            )
        return f"bid {plain(bid)}, ask {plain(ask)}, {plain(size)} per order"

    def _read_account(self) -> str:
        exchange, quote = self.orders.exchange, self.orders.instrument.quote
        held, free = exchange.balances(), exchange.free_balances().get(quote, Decimal(0))
        if free < self.most:
            raise DifferentError(
                f"{to_step(free)} {quote} are free, and {plain(self.most)} may be needed"
            )
        return f"{len(held)} assets, {len(exchange.open_orders())} working orders"

    def _place(self) -> str:
        report = self.orders.submit(self.orders.resting())
        if report.state is not OrderState.OPEN or report.filled_quantity:
            raise DifferentError(f"it is {report.state}, {plain(report.filled_quantity)} filled")
        return f"order {report.venue_order_id}"

    def _looked_up(self, state: OrderState) -> str:
        report = self.orders.until(self.orders.sent[-1], {state})
        if report.filled_quantity:
            raise DifferentError(f"{plain(report.filled_quantity)} of it is filled")
        return f"{report.state}, order {report.venue_order_id}"

    def _list(self) -> str:
        opened = self.orders.exchange.open_orders()
        if not any(report.client_order_id == self.orders.sent[-1] for report in opened):
            raise DifferentError(f"it is not among {len(opened)} working orders")
        return f"one of {len(opened)} working orders"

    def _cancel(self) -> str:
        report = self.orders.exchange.cancel(self.orders.sent[-1], self.orders.symbol)
        return f"answered with {report.state}"

    def _cancel_again(self) -> str:
        try:
            report = self.orders.exchange.cancel(self.orders.sent[-1], self.orders.symbol)
        except OrderNotFoundError as error:
            return _words(error)
        if report.state is OrderState.CANCELED:
            return "answered with canceled once more"
        raise DifferentError(f"it is {report.state}")

    def _look_up_none(self) -> str:
        try:
            report = self.orders.exchange.find_order(next(self.orders.names), self.orders.symbol)
        except OrderNotFoundError as error:
            return _words(error)
        raise DifferentError(f"it has order {report.venue_order_id}, which was never sent")

    def _refuse(self) -> str:
        """Send the smallest lot, which is below the venue's minimum."""
        instrument, price = self.orders.instrument, self.orders.far_price()
        lot = instrument.lot_step
        if lot >= instrument.min_quantity and lot * price >= instrument.min_notional:
            raise _NotShownError("the venue states no minimum above one lot")
        order = self.orders.request(OrderType.LIMIT, Side.BUY, lot, price)
        try:
            report = self.orders.submit(order)
        except VenueRejectedError as error:
            refusal = _words(error)
        else:
            raise DifferentError(f"{plain(lot)} was not refused: it is {report.state}")
        self.orders.clock.sleep(self.orders.poll_seconds)
        try:
            found = self.orders.exchange.find_order(order.client_order_id, self.orders.symbol)
        except OrderNotFoundError:
            return refusal
        if found.state is OrderState.REJECTED:
            return f"{refusal}; it is shown as rejected"
        raise DifferentError(f"{refusal}; and yet it is {found.state}")

    def _lose(self) -> str:
        self.recorder.lose_next_order()
        order = self.orders.resting()
        try:
            report = self.orders.submit(order)
        except RateLimitedError:
            raise
        except VenueUnavailableError:
            found = self.orders.until(order.client_order_id, {OrderState.OPEN})
        else:
            raise DifferentError(f"the answer was not lost: it is {report.state}")
        self.orders.exchange.cancel(order.client_order_id, self.orders.symbol)
        self.orders.until(order.client_order_id, {OrderState.CANCELED})
        return f"found by its name: order {found.venue_order_id}"

    def _fill_in_part(self) -> str:
        """Buy a little more than the best ask offers, if that is not too much."""
        quote = self.orders.exchange.quotes([self.orders.symbol]).get(self.orders.symbol)
        if quote is None or not quote.ask_size:
            raise _NotShownError("the venue does not say how much is offered")
        quantity = self.orders.lots(quote.ask_size) + self.orders.size()
        if quantity * quote.ask > self.most:
            raise _NotShownError(
                f"{plain(quote.ask_size)} are offered at {plain(quote.ask)}: more costs over "
                f"{plain(self.most)}"
            )
        order = self.orders.request(OrderType.LIMIT, Side.BUY, quantity, quote.ask)
        self.orders.submit(order)
        name = order.client_order_id
        seen = self.orders.until(
            name, {OrderState.OPEN, OrderState.PARTIALLY_FILLED, OrderState.FILLED}
        )
        if seen.state is OrderState.FILLED:
            raise _NotShownError(f"all of {plain(quantity)} was filled")
        try:
            self.orders.exchange.cancel(name, self.orders.symbol)
        except OrderNotFoundError:
            raise _NotShownError(f"{plain(quantity)} ended before it could be cancelled") from None
        ended = self.orders.until(name, {OrderState.CANCELED, OrderState.FILLED})
        if not 0 < ended.filled_quantity < quantity:
            raise _NotShownError(f"{plain(ended.filled_quantity)} of {plain(quantity)} was filled")
        fills = self.orders.fills_of(name, ended.filled_quantity)
        done = f"{plain(ended.filled_quantity)} of {plain(quantity)}"
        return f"{done} in {len(fills)} trades, then cancelled"

    def _fill(self) -> str:
        return self._traded(Side.BUY, self.orders.size())

    def _sell(self) -> str:
        return self._traded(Side.SELL, self.orders.lots(self.orders.bought()))

    def _traded(self, side: Side, quantity: Decimal) -> str:
        fills = self.orders.trade(side, quantity)
        fees = {fill.fee_asset for fill in fills}
        return f"{plain(quantity)} in {len(fills)} trades, fees in {', '.join(sorted(fees))}"


def _words(error: VenueRejectedError) -> str:
    return f"{type(error).__name__}, code {error.code or '(none)'}"
