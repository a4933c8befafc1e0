"""The paper account: orders fill in this process at the last price of some market data.

Prices and commissions are those of penstock.simulation.fill_model. At a bar's open the last price
is that open, so the same bars give the same fills as at the practice exchange. Volume is not
modelled: an order fills whole. A limit order that does not cross rests until a later call finds the
market strictly beyond its price.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from decimal import ROUND_UP, Decimal
from pathlib import Path
from typing import Any

import polars as pl

from penstock.core.accounting import effect_of
from penstock.core.amounts import at_most, plain, to_step
from penstock.core.earn_balances import EarnBalance
from penstock.core.errors import (
    DuplicateOrderError,
    InsufficientFundsError,
    NotSentError,
    OrderNotFoundError,
    UnknownSymbolError,
    VenueRejectedError,
)
from penstock.core.instruments import Instrument
from penstock.core.orders import Fill, OrderReport, OrderRequest, OrderState, OrderType, Side
from penstock.core.quotes import Quote
from penstock.core.timeframes import Timeframe
from penstock.core.transfers import Transfer
from penstock.ports import MarketData
from penstock.simulation.balances import Balances
from penstock.simulation.fill_model import FillModel, crosses, is_through
from penstock.simulation.journal import Journal
from penstock.simulation.paper_orders import PaperOrder, fill_of

_ZERO = Decimal(0)


class PaperExchange:
    """An Exchange with balances of its own, on prices of a MarketData. Threads may share it.

    `fill_model` has the costs; its participation is not used. `balances` are those of a new
    account. With `state_file` every change is appended there, and a restart continues with the
    file's balances. Processes may share the file: each sees what the others did, and they act one
    after the other. With `trading_timeframe` an order is refused while the market data has no bar
    of the present time (an outage). The practice exchange and a backtest do the same.
    """

    def __init__(
        self,
        market_data: MarketData,
        fill_model: FillModel | None = None,
        balances: Mapping[str, Decimal] | None = None,
        *,
        state_file: Path | None = None,
        trading_timeframe: Timeframe | None = None,
    ) -> None:
        self._market = market_data
        self._fill_model = fill_model or FillModel()
        self._timeframe = trading_timeframe
        self._lock = threading.RLock()
        self._balances = Balances()
        self._orders: dict[str, PaperOrder] = {}
        self._fills: list[Fill] = []
        self._instruments: Mapping[str, Instrument] = {}
        self._journal = Journal(state_file)
        self._at = market_data.now()  # the instant of the call being carried out
        for entry in self._journal.entries:
            self._restore(entry)
        with self._held():
            if not self._journal.entries:
                self._change(balances or {})
                self._journal.commit()

    def now(self) -> datetime:
        return self._market.now()

    def instruments(self) -> Mapping[str, Instrument]:
        found = self._market.instruments()
        self._instruments = found
        return found

    def fetch_bars(
        self, symbol: str, timeframe: Timeframe, since: datetime, limit: int
    ) -> pl.DataFrame:
        return self._market.fetch_bars(symbol, timeframe, since, limit)

    def last_prices(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        return self._market.last_prices(symbols)

    def quotes(self, symbols: Sequence[str]) -> Mapping[str, Quote]:
        """Return the market data's quotes. Orders fill at the last price with slippage."""
        return self._market.quotes(symbols)

    def balances(self) -> Mapping[str, Decimal]:
        with self._held():
            self._match_resting()
            return {
                asset: balance.total
                for asset, balance in self._balances.assets.items()
                if balance.total
            }

    def free_balances(self) -> Mapping[str, Decimal]:
        """Return what no working order reserves, by asset. An asset without any is absent."""
        with self._held():
            self._match_resting()
            return {
                asset: balance.free
                for asset, balance in self._balances.assets.items()
                if balance.free
            }

    def submit(self, order: OrderRequest) -> OrderReport:
        with self._held():
            if order.client_order_id in self._orders:
                raise DuplicateOrderError(
                    f"order {order.client_order_id}: this client order id was used before", "-2010"
                )
            instrument = self._instrument(order.symbol)
            self._at = self._market.now()
            self._require_open(order)
            last = self._last_price(order)
            price = self._fill_model.taker_price(order.side, last, instrument.price_tick)
            limit = price if order.type is OrderType.MARKET else _limit_price(order, instrument)
            _check_numbers(order, instrument, limit)
            self._require_funds(order, instrument, limit)
            number = len(self._orders) + 1
            placed = PaperOrder(order, number, OrderState.OPEN, placed_at=last)
            if order.type is OrderType.LIMIT and not crosses(order.side, limit, price):
                placed = self._rest(placed, instrument, limit)
            else:
                placed = self._fill(placed, instrument, price)
            self._journal.commit()
            return placed.report

    def find_order(self, client_order_id: str, symbol: str) -> OrderReport:
        with self._held():
            self._match_resting()
            return self._known(client_order_id, symbol).report

    def cancel(self, client_order_id: str, symbol: str, venue_order_id: str = "") -> OrderReport:
        with self._held():
            self._match_resting()
            named = client_order_id or self._named(venue_order_id)
            placed = self._known(named, symbol)
            if placed.state is not OrderState.OPEN:
                raise OrderNotFoundError(
                    f"order {named} is {placed.state} and cannot be cancelled", "-2011"
                )
            self._at = self._market.now()
            self._unlock(placed)
            placed = self._keep(replace(placed, state=OrderState.CANCELED, locked=_ZERO))
            self._journal.commit()
            return placed.report

    def open_orders(self) -> Sequence[OrderReport]:
        with self._held():
            self._match_resting()
            return [
                placed.report for placed in self._orders.values() if placed.state is OrderState.OPEN
            ]

    def earn_balances(self) -> Sequence[EarnBalance]:
        """Return nothing: a paper account has no earn programmes."""
        return []

    def transfers(self, since: datetime) -> Sequence[Transfer] | None:
        """Return no transfers: a paper account has none."""
        del since  # the port asks for it
        return ()

    def fills(self, symbol: str, since: datetime) -> Sequence[Fill]:
        with self._held():
            self._instrument(symbol)
            self._match_resting()
            return [fill for fill in self._fills if fill.symbol == symbol and fill.at >= since]

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the account against other threads and processes, as it stands after what they did.

        A request that raises has changed nothing but what it committed.
        """
        with self._lock, self._journal.held() as added:
            for entry in added:
                self._restore(entry)
            try:
                yield
            except BaseException:
                if self._journal.discard():
                    self._balances, self._orders, self._fills = Balances(), {}, []
                    for entry in self._journal.entries:
                        self._restore(entry)
                raise

    def _instrument(self, symbol: str) -> Instrument:
        if symbol not in self._instruments:
            self.instruments()
        if symbol not in self._instruments:
            raise UnknownSymbolError(
                f"the market data of the paper exchange does not list '{symbol}'"
            )
        return self._instruments[symbol]

    def _named(self, venue_order_id: str) -> str:
        """Return the client order id of the order with this venue's id; "" where there is none."""
        return next(
            (
                name
                for name, placed in self._orders.items()
                if placed.report.venue_order_id == venue_order_id
            ),
            "",
        )

    def _known(self, client_order_id: str, symbol: str) -> PaperOrder:
        self._instrument(symbol)
        placed = self._orders.get(client_order_id)
        if placed is None or placed.request.symbol != symbol:
            raise OrderNotFoundError(
                f"order {client_order_id} of {symbol} does not exist on the paper exchange", "-2013"
            )
        return placed

    def _require_open(self, order: OrderRequest) -> None:
        """Raise VenueRejectedError where the symbol has no bar of this time."""
        if self._timeframe is None:
            return
        bar_open = self._timeframe.floor(self._at)
        bars = self._market.fetch_bars(order.symbol, self._timeframe, bar_open, 1)
        if bars.height == 0:
            raise VenueRejectedError(
                f"order {order.client_order_id}: market is closed, {order.symbol} has no "
                f"{self._timeframe} bar at {bar_open}",
                "-1013",
            )

    def _last_price(self, order: OrderRequest) -> Decimal:
        """Return the symbol's last price. Raises VenueRejectedError where there is none."""
        last = self._market.last_prices([order.symbol]).get(order.symbol)
        if last is None:
            raise VenueRejectedError(
                f"order {order.client_order_id}: {order.symbol} has no price yet"
            )
        return last

    def _require_funds(self, order: OrderRequest, instrument: Instrument, price: Decimal) -> None:
        asset, needed = self._fill_model.spends(instrument, order.side, order.quantity, price)
        free = self._balances.of(asset).free
        if needed > free:
            lack = f"{to_step(needed, rounding=ROUND_UP)} {asset} and {at_most(free)} is free"
            text = f"order {order.client_order_id} needs {lack}"
            raise InsufficientFundsError(text, "-2010")

    def _rest(self, placed: PaperOrder, instrument: Instrument, limit: Decimal) -> PaperOrder:
        order = placed.request
        asset, needed = self._fill_model.spends(instrument, order.side, order.quantity, limit)
        self._balances.lock(asset, needed)
        self._note_balance(asset)
        return self._keep(replace(placed, locked=needed))

    def _unlock(self, placed: PaperOrder) -> None:
        if placed.locked:
            instrument = self._instrument(placed.request.symbol)
            asset = instrument.base if placed.request.side is Side.SELL else instrument.quote
            self._balances.unlock(asset, placed.locked)
            self._note_balance(asset)

    def _fill(self, placed: PaperOrder, instrument: Instrument, price: Decimal) -> PaperOrder:
        """Fill the whole order at `price`."""
        order = placed.request
        self._unlock(placed)
        fill = self._fill_model.fill(
            instrument,
            order.side,
            order.quantity,
            price,
            at=self._at,
            trade_id=str(len(self._fills) + 1),
            client_order_id=order.client_order_id,
        )
        self._change(effect_of(fill, instrument.base, instrument.quote).balances)
        self._fills.append(fill)
        self._note("fill", {**vars(fill), "at": fill.at.isoformat()})
        return self._keep(replace(placed, state=OrderState.FILLED, locked=_ZERO))

    def _match_resting(self) -> None:
        """Fill, each at its own price, the resting orders that the market has traded through.

        One whose symbol the market data does not list now waits.
        """
        resting = [placed for placed in self._orders.values() if placed.state is OrderState.OPEN]
        if not resting:
            return
        self._at = self._market.now()
        prices = self._listed_prices(sorted({placed.request.symbol for placed in resting}))
        for placed in resting:
            order, last = placed.request, prices.get(placed.request.symbol)
            if order.price is None or last is None or last == placed.placed_at:
                continue
            if is_through(order.side, order.price, last):
                self._fill(placed, self._instrument(order.symbol), order.price)
            elif placed.placed_at:
                self._keep(replace(placed, placed_at=_ZERO))
        self._journal.commit()

    def _listed_prices(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        """Return the last prices of the symbols that the market data lists now."""
        try:
            return self._market.last_prices(symbols)
        except UnknownSymbolError:
            prices: dict[str, Decimal] = {}
            for symbol in symbols:
                with suppress(UnknownSymbolError):
                    prices |= self._market.last_prices([symbol])
            return prices

    def _keep(self, placed: PaperOrder) -> PaperOrder:
        self._orders[placed.request.client_order_id] = placed
        self._note("order", placed.values())
        return placed

    def _change(self, changes: Mapping[str, Decimal]) -> None:
        self._balances.add(changes)
        for asset in changes:
            self._note_balance(asset)

    def _note_balance(self, asset: str) -> None:
        balance = self._balances.of(asset)
        self._note("balance", {"asset": asset, "free": balance.free, "locked": balance.locked})

    def _note(self, kind: str, values: Mapping[str, Any]) -> None:
        plain = {
            key: str(value) if isinstance(value, Decimal) else value
            for key, value in values.items()
        }
        self._journal.add(kind, "paper", round(self._at.timestamp() * 1000), {kind: plain})

    def _restore(self, entry: Mapping[str, Any]) -> None:
        """Apply one entry of the state file."""
        kind = entry["kind"]
        values = dict(entry[kind])
        if kind == "balance":
            balance = self._balances.of(values["asset"])
            balance.free, balance.locked = Decimal(values["free"]), Decimal(values["locked"])
        elif kind == "order":
            placed = PaperOrder.of(values)
            self._orders[placed.request.client_order_id] = placed
        else:
            self._fills.append(fill_of(values))


def _limit_price(order: OrderRequest, instrument: Instrument) -> Decimal:
    """Return a limit order's price. Raises NotSentError where it is missing or off the tick."""
    if order.price is None or order.price <= 0 or order.price % instrument.price_tick:
        raise NotSentError(
            f"order {order.client_order_id}: price {order.price and plain(order.price)} is not on "
            f"{plain(instrument.price_tick)}"
        )
    return order.price


def _check_numbers(order: OrderRequest, instrument: Instrument, price: Decimal) -> None:
    """Raise NotSentError for a quantity off the lot step, as the adapters of venues do, and
    VenueRejectedError where another rule is broken.
    """
    if order.quantity % instrument.lot_step:
        raise NotSentError(
            f"order {order.client_order_id}: quantity {plain(order.quantity)} is not on the lot "
            f"step {plain(instrument.lot_step)}"
        )
    kind, quantity = order.type, order.quantity
    refusal = instrument.refusal(quantity, price) or instrument.excess(kind, quantity, price)
    if refusal is not None:
        raise VenueRejectedError(f"order {order.client_order_id}: {refusal}", "-1013")
