"""How orders become trades: against the bars, at prices known at the venue's instant.

A market order fills at the open of the bar that holds the instant, up to the share of that bar's
volume that `participation` allows; the rest expires. A limit order that crosses that price fills
likewise as taker, and what is left rests (GTC). A resting order fills at its own price once a
closed bar that opened at or after it was placed has traded strictly through that price. Commissions
are truncated to eight decimals.
"""

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Literal

import numpy as np

from penstock.core.instruments import spot_symbol
from penstock.core.timeframes import Timeframe
from penstock.practice.accounts import ZERO, Account, Order, PracticeOrderStatus, Trade
from penstock.practice.binance_errors import Refusal, insufficient_balance
from penstock.practice.filters import SymbolRules
from penstock.practice.market import BookTicker, Listing, PracticeMarket
from penstock.practice.series import Bar
from penstock.practice.venue import Venue

_UNIT = Decimal("1e-8")
_FOREVER = 2**62
_BY_LENGTH = sorted(Timeframe, key=lambda t: t.seconds)

FeeAsset = Literal["received", "quote", "BNB"]


def decimal_of(value: float) -> Decimal:
    """Return a candle's float as the decimal with eight places that the wire shows."""
    return Decimal(f"{value:.8f}")


@dataclass(frozen=True)
class Terms:
    """What trading costs and how much of a bar's volume may be had. Fees and slippage in basis
    points.

    `fee_asset` "received" is Binance's way (base on a buy, quote on a sell); "quote" takes it in
    quote both ways; "BNB" takes its worth in BNB, as Binance does where that is switched on, and in
    what is received where the account has too little. `participation` is the share of a bar's
    volume that all orders together may take; None means no limit.
    """

    taker_fee_bps: Decimal = Decimal(10)
    maker_fee_bps: Decimal = Decimal(10)
    slippage_bps: Decimal = ZERO
    fee_asset: FeeAsset = "received"
    participation: float | None = 1.0


class MatchingEngine:
    """Fills orders of all accounts from one market."""

    def __init__(
        self, market: PracticeMarket, rules: dict[str, SymbolRules], venue: Venue, terms: Terms
    ) -> None:
        self.market = market
        self.rules = rules
        self.venue = venue
        self.terms = terms
        self._taken: dict[tuple[str, Timeframe, int], Decimal] = {}  # not kept across restarts
        self._advanced_to = -1

    def place(self, account: Account, order: Order) -> list[Trade]:
        """Accept `order` and fill what can be filled now; Refusal (nothing changed) where the venue
        would not take it.
        """
        listing, rules = self.market.listings[order.symbol], self.rules[order.symbol]
        quote = self.market.quote(listing.symbol, self.venue.time.now_ms())
        if quote is None or not quote.is_open:
            raise Refusal(-1013, "Market is closed.")
        price = self._slipped(quote, order)
        is_market = order.type == "MARKET"
        rules.check_notional(order.quantity, price if is_market else order.price)
        crosses = is_market or _sign(order) * (order.price - price) >= 0
        if order.type == "LIMIT_MAKER" and crosses:
            raise Refusal(-2010, "Order would immediately match and take.")
        self._require_funds(account, listing, order, price if is_market else order.price)
        order.order_id = self.venue.next_order_id()
        available = (
            self._available(order.symbol, quote.timeframe, quote.bar_ts, quote.volume, rules)
            if crosses
            else ZERO
        )
        quantity = min(order.quantity, available)
        if order.time_in_force == "FOK" and quantity < order.quantity:
            quantity = ZERO
        if not is_market:
            self._lock(account, listing, order)
        trades = []
        if quantity > 0:
            self._take(order.symbol, quote.timeframe, quote.bar_ts, quantity)
            trades.append(
                self._fill(
                    account, listing, order, quantity, price, order.created_ms, is_maker=False
                )
            )
        if order.status.is_open and (is_market or order.time_in_force in ("IOC", "FOK")):
            self._finish(account, listing, order, PracticeOrderStatus.EXPIRED)
        self.venue.note_order(account, order)
        return trades

    def cancel(self, account: Account, order: Order) -> None:
        """Take an open order off the book and free what it locked."""
        self._finish(
            account, self.market.listings[order.symbol], order, PracticeOrderStatus.CANCELED
        )
        order.updated_ms = self.venue.time.now_ms()
        self.venue.note_order(account, order)

    def advance(self) -> None:
        """Match every resting order against the bars that have closed since."""
        now = self.venue.time.now_ms()
        if now == self._advanced_to:
            return
        self._advanced_to = now
        for account in self.venue.accounts.values():
            for order_id in list(account.open_ids):
                self._match_resting(account, account.orders[order_id], now)

    def _match_resting(self, account: Account, order: Order, now: int) -> None:
        listing, rules = self.market.listings[order.symbol], self.rules[order.symbol]
        while order.status.is_open:
            found = self._next_touch(listing.symbol, order, now)
            if found is None:
                return
            timeframe, bar = found
            available = self._available(order.symbol, timeframe, bar.ts, bar.volume, rules)
            quantity = min(order.remaining, available)
            order.matched_to_ms = bar.ts + timeframe.seconds * 1000
            if quantity > 0:
                self._take(order.symbol, timeframe, bar.ts, quantity)
                self._fill(
                    account,
                    listing,
                    order,
                    quantity,
                    order.price,
                    order.matched_to_ms - 1,
                    is_maker=True,
                )
                self.venue.note_order(account, order)

    def _next_touch(self, symbol: str, order: Order, now: int) -> tuple[Timeframe, Bar] | None:
        """Return the next closed bar that trades strictly through the order's price, from the
        shortest timeframe there is.
        """
        held = self.market.table[symbol]
        while True:
            pages = [
                (held[t].page(order.matched_to_ms, _FOREVER, 1), t) for t in _BY_LENGTH if t in held
            ]
            starts = [(int(page.ts[0]), t.seconds, t) for page, t in pages if len(page)]
            if not starts:
                return None
            _, seconds, timeframe = min(starts)
            closed = held[timeframe].window(order.matched_to_ms, now - seconds * 1000 + 1)
            if len(closed) == 0:
                return None
            limit = float(order.price)
            through = (
                closed.values[:, 2] < limit if order.side == "BUY" else closed.values[:, 1] > limit
            )
            hits = np.flatnonzero(through)
            if len(hits):
                return timeframe, closed[int(hits[0])]
            order.matched_to_ms = int(closed.ts[-1]) + seconds * 1000

    def _slipped(self, quote: BookTicker, order: Order) -> Decimal:
        """Return the price a taker gets: the known one, worse by the slippage."""
        known = decimal_of(quote.price)
        if not self.terms.slippage_bps:
            return known
        slipped = (known * (1 + _sign(order) * self.terms.slippage_bps / 10_000)).quantize(_UNIT)
        if order.type == "MARKET" or _sign(order) * (order.price - known) < 0:
            return slipped
        return min(slipped, order.price) if order.side == "BUY" else max(slipped, order.price)

    def _available(
        self, symbol: str, timeframe: Timeframe, ts: int, volume: float, rules: SymbolRules
    ) -> Decimal:
        """Return what may still be had of a bar's volume, in whole lots."""
        if self.terms.participation is None:
            return Decimal(10) ** 18
        share = decimal_of(volume * self.terms.participation) - self._taken.get(
            (symbol, timeframe, ts), ZERO
        )
        return max(ZERO, rules.instrument.round_lots(share))

    def _take(self, symbol: str, timeframe: Timeframe, ts: int, quantity: Decimal) -> None:
        key = (symbol, timeframe, ts)
        self._taken[key] = self._taken.get(key, ZERO) + quantity

    def _fee_in_quote_rate(self, side: str) -> Decimal:
        """Return the taker fee rate that a buy must have in quote besides the notional."""
        return (
            self.terms.taker_fee_bps / 10_000
            if side == "BUY" and self.terms.fee_asset == "quote"
            else ZERO
        )

    def _needs(self, listing: Listing, order: Order, price: Decimal) -> tuple[str, Decimal]:
        """Return the asset and quantity that the open part of an order spends at `price`."""
        if order.side == "SELL":
            return listing.base, order.remaining
        return listing.quote, order.remaining * price * (1 + self._fee_in_quote_rate("BUY"))

    def _require_funds(
        self, account: Account, listing: Listing, order: Order, price: Decimal
    ) -> None:
        asset, needed = self._needs(listing, order, price)
        if needed > account.balances.of(asset).free:
            raise insufficient_balance()

    def _lock(self, account: Account, listing: Listing, order: Order) -> None:
        asset, needed = self._needs(listing, order, order.price)
        account.balances.lock(asset, needed)
        order.locked = needed
        self.venue.note_balance(account, asset, ZERO, "lock")

    def _finish(
        self, account: Account, listing: Listing, order: Order, status: PracticeOrderStatus
    ) -> None:
        order.status = status
        if order.locked:
            asset = listing.quote if order.side == "BUY" else listing.base
            account.balances.unlock(asset, order.locked)
            order.locked = ZERO
            self.venue.note_balance(account, asset, ZERO, "unlock")

    def _fill(
        self,
        account: Account,
        listing: Listing,
        order: Order,
        quantity: Decimal,
        price: Decimal,
        at_ms: int,
        is_maker: bool,
    ) -> Trade:
        """Book one trade: both assets, the commission, the order's progress and its lock."""
        rate = (self.terms.maker_fee_bps if is_maker else self.terms.taker_fee_bps) / 10_000
        notional = quantity * price
        fee_asset, fee = self._fee(account, listing, order, quantity, notional, rate)
        if order.locked:
            spent_asset = listing.quote if order.side == "BUY" else listing.base
            account.balances.unlock(spent_asset, order.locked)
        sign = _sign(order)
        changes = {listing.base: sign * quantity, listing.quote: -sign * notional}
        changes[fee_asset] = changes.get(fee_asset, ZERO) - fee
        for asset, change in changes.items():
            account.balances.add(asset, change)
        trade_id = self.venue.next_trade_id()
        trade = Trade(
            trade_id,
            order.order_id,
            order.symbol,
            order.side,
            price,
            quantity,
            fee,
            fee_asset,
            at_ms,
            is_maker,
        )
        order.executed += quantity
        order.executed_quote += notional
        order.updated_ms = at_ms
        order.status = (
            PracticeOrderStatus.PARTIALLY_FILLED if order.remaining else PracticeOrderStatus.FILLED
        )
        if order.locked:
            order.locked = ZERO
            if order.remaining:
                asset, order.locked = self._needs(listing, order, order.price)
                account.balances.lock(asset, order.locked)
        self.venue.note_trade(account, trade)
        for asset, change in changes.items():
            self.venue.note_balance(account, asset, change, f"trade {trade_id}")
        return trade

    def _fee(
        self,
        account: Account,
        listing: Listing,
        order: Order,
        quantity: Decimal,
        notional: Decimal,
        rate: Decimal,
    ) -> tuple[str, Decimal]:
        """Return the asset and quantity of a trade's commission."""
        third = spot_symbol("BNB", listing.quote) if self.terms.fee_asset == "BNB" else ""
        quote = (
            self.market.quote(third, self.venue.time.now_ms())
            if third in self.market.table
            else None
        )
        if quote is not None:
            fee = (notional * rate / decimal_of(quote.price)).quantize(_UNIT, rounding=ROUND_DOWN)
            if fee <= account.balances.of("BNB").free and "BNB" not in (
                listing.base,
                listing.quote,
            ):
                return "BNB", fee
        in_quote = order.side == "SELL" or self.terms.fee_asset == "quote"
        fee = ((notional if in_quote else quantity) * rate).quantize(_UNIT, rounding=ROUND_DOWN)
        return (listing.quote if in_quote else listing.base), fee


def _sign(order: Order) -> int:
    return 1 if order.side == "BUY" else -1
