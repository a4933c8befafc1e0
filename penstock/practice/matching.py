"""How orders of the practice exchange fill from the bars that are known at the venue's time.

The last price is the open of the present bar. A market order takes at the ask or bid that the fill
model has for it, up to a share of that bar's volume; the rest expires. A limit order that reaches
the ask or bid takes in the same way, and the rest stays open (GTC). A resting order fills at its
own price once a closed bar has traded strictly through it. That bar must have opened after the
order was placed. A stop order waits until the last price reaches its stop, and then does the same.
Quantities and commissions are those of penstock.simulation.fill_model.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from heapq import heappop, heappush
from typing import NamedTuple

from penstock.core.accounting import effect_of
from penstock.core.instruments import Instrument, spot_symbol
from penstock.core.orders import Side
from penstock.core.timeframes import Timeframe
from penstock.practice.accounts import (
    ZERO,
    PracticeAccount,
    PracticeOrder,
    PracticeOrderStatus,
    PracticeTrade,
)
from penstock.practice.bar_search import Trigger, bar_through, is_reached, trigger_of
from penstock.practice.binance_errors import PracticeRefusal, insufficient_balance
from penstock.practice.filters import SymbolRules
from penstock.practice.market import PracticeMarket
from penstock.practice.series import PracticeBar
from penstock.practice.venue import PracticeVenue
from penstock.simulation.fill_model import (
    BnbWallet,
    FillModel,
    crosses,
    decimal_of,
)

#: A bar whose volume fills have a share of: symbol as Binance writes it, timeframe, open time.
_BarKey = tuple[str, Timeframe, int]


class Moment(NamedTuple):
    """What an order that comes to the book finds there."""

    last: Decimal
    """The last price."""
    bar: _BarKey
    """The bar that fills are taken from."""
    volume: float
    """Its volume (base units)."""


class _Due(NamedTuple):
    """What happens next to a resting order. The older order is first of those of one instant."""

    at_ms: int
    """When it happens (Unix milliseconds by the venue's clock)."""
    order_id: int
    """The order's id."""
    carry_out: Callable[[], None]
    """Makes it happen."""
    account: PracticeAccount
    """The order's account."""
    order: PracticeOrder
    """The order."""


class MatchingEngine:
    """Fills orders of all accounts from one market."""

    def __init__(
        self,
        market: PracticeMarket,
        rules: dict[str, SymbolRules],
        venue: PracticeVenue,
        fill_model: FillModel,
    ) -> None:
        self.market = market
        self.rules = rules
        self.venue = venue
        self.fill_model = fill_model
        self._taken: dict[_BarKey, Decimal] = {}  # not kept across restarts
        self._advanced_to = -1

    def place(self, account: PracticeAccount, order: PracticeOrder) -> list[PracticeTrade]:
        """Accept `order` and fill what can be filled now.

        Raises PracticeRefusal, with nothing changed, where the venue would not take it.
        """
        moment = self.check(account, order)
        instrument, limit = self.rules[order.symbol].instrument, order.limit
        if order.stop_price and is_reached(order, moment.last):
            raise PracticeRefusal(-2010, "Order would trigger immediately.")
        takes_at = self._taker_price(order, order.stop_price or moment.last)
        if order.type == "LIMIT_MAKER" and crosses(order.side, order.price, takes_at):
            raise PracticeRefusal(-2010, "Order would immediately match and take.")
        worst = takes_at if limit is None else limit
        self._require_funds(account, instrument, order, worst)
        order.order_id = self.venue.next_order_id()
        if limit is not None or order.stop_price:
            self._lock(account, instrument, order, worst)
        if not order.stop_price:
            return self._work(account, order, moment, order.created_ms)
        self.venue.note_order(account, order)
        return []

    def check(self, account: PracticeAccount, order: PracticeOrder) -> Moment:
        """Return the market's moment where every filter takes the order. Raises PracticeRefusal.

        A market order in quote units gets its quantity: what that buys or sells now, in whole lots.
        """
        rules, moment = self.rules[order.symbol], self._moment(order.symbol)
        limit, last = order.limit, moment.last
        notional = order.quote_quantity or order.quantity * (limit or order.stop_price or last)
        rules.check_notional(notional, is_market=limit is None)
        rules.check_band(order.side, limit, last)
        if order.quote_quantity:
            bought = order.quote_quantity / self._taker_price(order, last)
            order.quantity = rules.instrument.round_lots(bought)
            rules.check_quantity(order.quantity, order.type)
        if order.stop_price:
            working = (account.orders[order_id] for order_id in account.open_ids)
            rules.check_stops(sum(o.symbol == order.symbol and o.stop_price > 0 for o in working))
        if order.side is Side.BUY:
            rules.check_position(self._committed(account, order.symbol), order.quantity)
        return moment

    def _moment(self, symbol: str) -> Moment:
        """Return the symbol's market now. Raises PracticeRefusal where it is closed."""
        known = self.market.quote(self.rules[symbol].instrument.symbol, self.venue.time.now_ms())
        if known is None or not known.is_open:
            raise PracticeRefusal(-1013, "Market is closed.")
        bar = symbol, known.timeframe, known.bar_ts
        return Moment(decimal_of(known.price), bar, known.volume)

    def _taker_price(self, order: PracticeOrder, last: Decimal) -> Decimal:
        tick = self.rules[order.symbol].instrument.price_tick
        return self.fill_model.taker_price(order.side, last, tick)

    def _work(
        self, account: PracticeAccount, order: PracticeOrder, moment: Moment, at_ms: int
    ) -> list[PracticeTrade]:
        """Fill what an order takes when it comes to the book. What never rests expires."""
        instrument, limit = self.rules[order.symbol].instrument, order.limit
        price = self._taker_price(order, moment.last)
        takes = limit is None or crosses(order.side, limit, price)
        quantity = self._fillable(instrument, order, moment.bar, moment.volume) if takes else ZERO
        if order.time_in_force == "FOK" and quantity < order.quantity:
            quantity = ZERO
        trades = []
        if quantity > 0:
            trades.append(self._fill(account, order, moment.bar, quantity, price, at_ms))
        if order.status.is_open and (limit is None or order.time_in_force in ("IOC", "FOK")):
            self._finish(account, instrument, order, PracticeOrderStatus.EXPIRED)
        self.venue.note_order(account, order)
        return trades

    def cancel(self, account: PracticeAccount, order: PracticeOrder) -> None:
        """End an open order and free what it reserves."""
        instrument = self.rules[order.symbol].instrument
        self._finish(account, instrument, order, PracticeOrderStatus.CANCELED)
        order.updated_ms = self.venue.time.now_ms()
        self.venue.note_order(account, order)

    def advance(self) -> None:
        """Match every resting order against the bars that have closed since the last call.

        What happens to all orders happens in the order of time.
        """
        now = self.venue.time.now_ms()
        if now == self._advanced_to:
            return
        self._advanced_to = now
        due: list[_Due] = []
        for account in self.venue.accounts.values():
            for order_id in account.open_ids:
                self._add_due(due, account, account.orders[order_id], now)
        while due:
            _, _, carry_out, account, order = heappop(due)
            carry_out()
            self._add_due(due, account, order, now)

    def _add_due(
        self, due: list[_Due], account: PracticeAccount, order: PracticeOrder, now: int
    ) -> None:
        """Add what happens next to an open order, where it has happened by `now`."""
        symbol = self.rules[order.symbol].instrument.symbol
        if not order.status.is_open:
            return
        if symbol in self.market.suspended:
            order.matched_to_ms = now  # what the candles have of this time did not trade
        elif order.is_waiting:
            trigger = trigger_of(self.market, symbol, order, now)
            if trigger is not None:
                carry_out = partial(self._trigger, account, order, trigger)
                heappush(due, _Due(trigger.at_ms, order.order_id, carry_out, account, order))
        else:
            found = bar_through(self.market, symbol, order, now)
            if found is not None:
                carry_out = partial(self._match_resting, account, order, *found)
                at_ms = found[1].ts + found[0].seconds * 1000 - 1
                heappush(due, _Due(at_ms, order.order_id, carry_out, account, order))

    def _match_resting(
        self, account: PracticeAccount, order: PracticeOrder, timeframe: Timeframe, bar: PracticeBar
    ) -> None:
        """Fill a resting order from a bar that traded through its limit, as its volume allows."""
        key = order.symbol, timeframe, bar.ts
        quantity = self._fillable(self.rules[order.symbol].instrument, order, key, bar.volume)
        order.matched_to_ms = bar.ts + timeframe.seconds * 1000
        if quantity > 0:
            at_ms = order.matched_to_ms - 1
            self._fill(account, order, key, quantity, order.price, at_ms, is_maker=True)
        # noted without a fill, too: a restart forgets what others took of the bar
        self.venue.note_order(account, order)

    def _trigger(self, account: PracticeAccount, order: PracticeOrder, trigger: Trigger) -> None:
        """Set a stop order to work. One that becomes a market order and lacks the funds expires."""
        instrument = self.rules[order.symbol].instrument
        order.triggered_ms = order.updated_ms = trigger.at_ms
        order.matched_to_ms = trigger.matched_to_ms
        asset, needed = self._needs(instrument, order, self._taker_price(order, trigger.price))
        if order.limit is None and needed > account.balances.of(asset).free + order.locked:
            self._finish(account, instrument, order, PracticeOrderStatus.EXPIRED)
            self.venue.note_order(account, order)
            return
        bar = order.symbol, trigger.timeframe, trigger.bar.ts
        moment = Moment(trigger.price, bar, trigger.bar.volume)
        self._work(account, order, moment, trigger.at_ms)

    def _fillable(
        self, instrument: Instrument, order: PracticeOrder, bar: _BarKey, volume: float
    ) -> Decimal:
        taken = self._taken.get(bar, ZERO)
        return self.fill_model.fillable(instrument, order.remaining, volume, taken)

    def _needs(
        self, instrument: Instrument, order: PracticeOrder, price: Decimal
    ) -> tuple[str, Decimal]:
        """Return the asset and quantity that the open part of an order spends at `price`."""
        return self.fill_model.spends(instrument, order.side, order.remaining, price)

    def _require_funds(
        self, account: PracticeAccount, instrument: Instrument, order: PracticeOrder, price: Decimal
    ) -> None:
        asset, needed = self._needs(instrument, order, price)
        if needed > account.balances.of(asset).free:
            raise insufficient_balance()

    def _committed(self, account: PracticeAccount, symbol: str) -> Decimal:
        """Return what is held of a symbol's base, and what open buys may add to it."""
        working = (account.orders[order_id] for order_id in account.open_ids)
        buys = (o.remaining for o in working if o.symbol == symbol and o.side is Side.BUY)
        return account.balances.of(self.rules[symbol].instrument.base).total + sum(buys, ZERO)

    def _lock(
        self, account: PracticeAccount, instrument: Instrument, order: PracticeOrder, price: Decimal
    ) -> None:
        asset, order.locked = self._needs(instrument, order, price)
        account.balances.lock(asset, order.locked)
        self.venue.note_balance(account, asset, ZERO, "lock")

    def _finish(
        self,
        account: PracticeAccount,
        instrument: Instrument,
        order: PracticeOrder,
        status: PracticeOrderStatus,
    ) -> None:
        order.status = status
        if order.locked:
            asset = instrument.quote if order.side is Side.BUY else instrument.base
            account.balances.unlock(asset, order.locked)
            order.locked = ZERO
            self.venue.note_balance(account, asset, ZERO, "unlock")

    def _fill(
        self,
        account: PracticeAccount,
        order: PracticeOrder,
        bar: _BarKey,
        quantity: Decimal,
        price: Decimal,
        at_ms: int,
        *,
        is_maker: bool = False,
    ) -> PracticeTrade:
        """Make one trade: update the bar's taken volume, the balances and the order."""
        instrument = self.rules[order.symbol].instrument
        self._taken[bar] = self._taken.get(bar, ZERO) + quantity
        fill = self.fill_model.fill(
            instrument,
            order.side,
            quantity,
            price,
            at=datetime.fromtimestamp(at_ms / 1000, UTC),
            is_maker=is_maker,
            bnb=self._bnb_wallet(account, instrument.quote),
        )
        had_lock = bool(order.locked)
        if had_lock:
            spent = instrument.quote if order.side is Side.BUY else instrument.base
            account.balances.unlock(spent, order.locked)
            order.locked = ZERO
        changes = effect_of(fill, instrument.base, instrument.quote).balances
        account.balances.add(changes)
        trade = PracticeTrade(
            self.venue.next_trade_id(),
            order.order_id,
            order.symbol,
            order.side,
            price,
            quantity,
            fill.fee,
            fill.fee_asset,
            at_ms,
            is_maker,
        )
        order.executed += quantity
        order.executed_quote += fill.notional
        order.updated_ms = at_ms
        order.status = (
            PracticeOrderStatus.PARTIALLY_FILLED if order.remaining else PracticeOrderStatus.FILLED
        )
        if had_lock and order.remaining:
            asset, order.locked = self._needs(instrument, order, order.price)
            account.balances.lock(asset, order.locked)
        self.venue.note_trade(account, trade)
        for asset, change in changes.items():
            self.venue.note_balance(account, asset, change, f"trade {trade.trade_id}")
        return trade

    def _bnb_wallet(self, account: PracticeAccount, quote: str) -> BnbWallet | None:
        """Return the account's BNB and its price; None where no commission is in BNB."""
        symbol = spot_symbol("BNB", quote)
        if self.fill_model.fee_asset != "BNB" or symbol not in self.market.table:
            return None
        known = self.market.quote(symbol, self.venue.time.now_ms())
        if known is None:
            return None
        return BnbWallet(account.balances.of("BNB").free, decimal_of(known.price))
