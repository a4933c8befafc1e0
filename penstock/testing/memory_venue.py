"""A venue in memory that fills at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl

from penstock.core.accounting import changes_of, summed
from penstock.core.bars import BARS_SCHEMA
from penstock.core.clock import SteppedClock
from penstock.core.earn_balances import EarnBalance
from penstock.core.errors import (
    DuplicateOrderError,
    InsufficientFundsError,
    NotSentError,
    OrderNotFoundError,
    UnknownSymbolError,
    VenueRejectedError,
    VenueUnavailableError,
)
from penstock.core.instruments import Instrument
from penstock.core.orders import (
    Fill,
    OrderReport,
    OrderRequest,
    OrderState,
    OrderType,
    Side,
)
from penstock.core.quotes import Quote
from penstock.core.timeframes import Timeframe
from penstock.core.transfers import Transfer
from penstock.simulation.fill_model import FillModel, crosses
from penstock.testing.instruments import PRICES, instrument


@dataclass
class MemoryVenue:
    """A venue in memory that fills market orders at once at its prices. The fee is in the asset
    received, as at Binance.

    tests/contracts/exchanges hold it to the port, but for what follows from moving prices. Its
    prices stand still until a test changes them, and a resting order rests until it is cancelled.
    `before` and `after` are called with each request, before and after the venue takes it. A test
    may let them raise.
    """

    clock: SteppedClock
    prices: dict[str, Decimal] = field(default_factory=lambda: dict(PRICES))
    assets: dict[str, Decimal] = field(default_factory=lambda: {"USDT": Decimal(10_000)})
    fill_model: FillModel = field(default_factory=FillModel)
    earning: dict[str, Decimal] = field(default_factory=dict)
    placed: dict[str, OrderReport] = field(default_factory=dict)
    trades: list[Fill] = field(default_factory=list)
    submitted: list[OrderRequest] = field(default_factory=list)
    before: Callable[[OrderRequest], None] = lambda _: None
    after: Callable[[OrderRequest], None] = lambda _: None
    hidden: set[str] = field(default_factory=set)
    fraction: Decimal = Decimal(1)
    down: bool = False
    rules: Callable[[str], Instrument] = instrument

    def now(self) -> datetime:
        return self.clock.now()

    def instruments(self) -> Mapping[str, Instrument]:
        return {symbol: self.rules(symbol) for symbol in self.prices}

    def fetch_bars(
        self, symbol: str, timeframe: Timeframe, since: datetime, limit: int
    ) -> pl.DataFrame:
        """Return flat bars from `since` up to now: prices stand still until a test moves them."""
        self._require_listed(symbol)
        first = timeframe.floor(since)
        first += timeframe.duration if first < since else timedelta(0)
        price = float(self.prices[symbol])
        opens = [at for n in range(limit) if (at := first + n * timeframe.duration) <= self.now()]
        return pl.DataFrame(
            [(symbol, at, *[price] * 4, 0.0) for at in opens], BARS_SCHEMA, orient="row"
        )

    def _require_listed(self, *symbols: str) -> None:
        for symbol in symbols:
            if symbol not in self.prices:
                raise UnknownSymbolError(
                    f"{symbol} is not listed here; listed are {sorted(self.prices)}"
                )

    def last_prices(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        self._require_listed(*symbols)
        return {symbol: self.prices[symbol] for symbol in symbols}

    def quotes(self, symbols: Sequence[str]) -> Mapping[str, Quote]:
        tick = Decimal("0.01")
        return {
            symbol: Quote(price - tick, price + tick)
            for symbol, price in self.last_prices(symbols).items()
        }

    def balances(self) -> Mapping[str, Decimal]:
        return {asset: quantity for asset, quantity in self.assets.items() if quantity}

    def submit(self, order: OrderRequest) -> OrderReport:
        self.before(order)
        self.submitted.append(order)
        if order.client_order_id in self.placed:
            raise DuplicateOrderError("Duplicate order sent.", "-2010")
        self._require_listed(order.symbol)
        price = self.prices[order.symbol]
        self._require_filters(order, price)
        asset, needed = self._spends(order, price)
        if self.free_balances().get(asset, Decimal(0)) < needed:
            raise InsufficientFundsError(
                "Account has insufficient balance for requested action.", "-2010"
            )
        report = self._fill(order, price)
        self.placed[order.client_order_id] = report
        self.after(order)
        return report

    def _spends(self, order: OrderRequest, price: Decimal) -> tuple[str, Decimal]:
        """Return the asset and the amount of it that an order takes at a price."""
        return self.fill_model.spends(self.rules(order.symbol), order.side, order.quantity, price)

    def _require_filters(self, order: OrderRequest, price: Decimal) -> None:
        rules = self.rules(order.symbol)
        if order.quantity % rules.lot_step or (order.price or Decimal(0)) % rules.price_tick:
            raise NotSentError(f"{order.symbol}: a number is off the venue's steps")
        if order.quantity * (order.price or price) < rules.min_notional:
            raise VenueRejectedError("Filter failure: NOTIONAL", "-1013")
        excess = rules.excess(order.type, order.quantity, order.price or price)
        if excess is not None:
            raise VenueRejectedError(f"Filter failure: {excess}", "-1013")

    def free_balances(self) -> Mapping[str, Decimal]:
        """Return what no working order holds back."""
        free = dict(self.assets)
        for order in self.submitted:
            report = self.placed.get(order.client_order_id)
            if report is not None and report.state is OrderState.OPEN and order.price is not None:
                asset, held = self._spends(order, order.price)
                free[asset] = free.get(asset, Decimal(0)) - held
        return {asset: quantity for asset, quantity in free.items() if quantity}

    def _fill(self, order: OrderRequest, price: Decimal) -> OrderReport:
        waits = (
            order.type is OrderType.LIMIT
            and order.price is not None
            and not crosses(order.side, order.price, price)
        )
        rules = self.rules(order.symbol)
        quantity = Decimal(0) if waits else rules.round_lots(order.quantity * self.fraction)
        if quantity:
            self.trade(order.symbol, order.side, quantity, price, order.client_order_id)
        state = (
            OrderState.FILLED
            if quantity == order.quantity
            else OrderState.OPEN
            if waits
            else OrderState.EXPIRED
        )
        return OrderReport(
            order.client_order_id, str(len(self.placed) + 1), order.symbol, state, quantity
        )

    def trade(
        self, symbol: str, side: Side, quantity: Decimal, price: Decimal, client_order_id: str = ""
    ) -> Fill:
        """Make a trade, ours or (without a client order id) someone else's."""
        fill = self.fill_model.fill(
            self.rules(symbol),
            side,
            quantity,
            price,
            at=self.now(),
            trade_id=f"t{len(self.trades) + 1}",
            client_order_id=client_order_id,
        )
        self.trades.append(fill)
        self.assets = summed([self.assets, changes_of(fill)])
        return fill

    def find_order(self, client_order_id: str, symbol: str) -> OrderReport:
        if self.down:
            raise VenueUnavailableError("no answer in 5 s")
        found = self.placed.get(client_order_id)
        if client_order_id in self.hidden or found is None or found.symbol != symbol:
            raise OrderNotFoundError("Order does not exist.", "-2013")
        return found

    def cancel(self, client_order_id: str, symbol: str, venue_order_id: str = "") -> OrderReport:
        theirs = (
            name for name, report in self.placed.items() if report.venue_order_id == venue_order_id
        )
        key = client_order_id or next(theirs, "no such id")
        report = self.find_order(key, symbol)
        if report.state is not OrderState.OPEN:
            raise OrderNotFoundError("Unknown order sent.", "-2011")
        self.placed[key] = replace(report, state=OrderState.CANCELED)
        return self.placed[key]

    def open_orders(self) -> Sequence[OrderReport]:
        return [report for report in self.placed.values() if report.state is OrderState.OPEN]

    def earn_balances(self) -> Sequence[EarnBalance]:
        return [
            EarnBalance(asset, f"LD{asset}", quantity, "Simple Earn")
            for asset, quantity in self.earning.items()
            if quantity
        ]

    def transfers(self, since: datetime) -> Sequence[Transfer] | None:
        return None

    def fills(self, symbol: str, since: datetime) -> Sequence[Fill]:
        self._require_listed(symbol)
        return [fill for fill in self.trades if fill.symbol == symbol and fill.at >= since]


@dataclass
class OneOfTwo(MemoryVenue):
    """A venue with deep quotes that can pause symbols. It lists a paused symbol no more, but still
    answers for its orders.
    """

    paused: frozenset[str] = frozenset()

    def instruments(self) -> Mapping[str, Instrument]:
        return {
            symbol: rules
            for symbol, rules in super().instruments().items()
            if symbol not in self.paused
        }

    def quotes(self, symbols: Sequence[str]) -> Mapping[str, Quote]:
        deep = {"bid_size": Decimal(1000), "ask_size": Decimal(1000)}
        return {symbol: replace(quote, **deep) for symbol, quote in super().quotes(symbols).items()}
