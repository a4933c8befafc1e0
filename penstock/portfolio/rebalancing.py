"""Weights to orders, all in Decimal: what to sell, then what to buy with the cash that is there.

Pure. Whether an order may be sent is for penstock.risk; sending it is for penstock.execution.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from penstock.core.errors import ConfigError, DataError
from penstock.core.instruments import Instrument, holdings_by_symbol
from penstock.core.orders import OrderType, Phase, Side
from penstock.core.proposals import ProposedOrder

_ZERO = Decimal(0)
_BPS = Decimal(10_000)


class RebalancePolicy(BaseModel):
    """How weights become orders.

    `no_trade_band` is the fraction of equity under which a difference is left alone (closing a
    position is never left). `fee_bps` and `slippage_bps` are kept back from the cash that buys may
    use. `outside_universe` says what happens to a held asset that no target names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    quote: str = "USDT"
    no_trade_band: Decimal = Field(default=Decimal("0.005"), ge=0, lt=1)
    fee_bps: Decimal = Field(default=Decimal(10), ge=0, lt=1000)
    slippage_bps: Decimal = Field(default=Decimal(10), ge=0, lt=1000)
    outside_universe: Literal["close", "hold"] = "hold"
    order_type: OrderType = OrderType.MARKET
    limit_offset_bps: Decimal = Field(default=Decimal(5), ge=-100, le=1000)

    @property
    def cost_fraction(self) -> Decimal:
        """Fees and slippage as a fraction of notional."""
        return (self.fee_bps + self.slippage_bps) / _BPS


@dataclass(frozen=True)
class Skipped:
    """A symbol for which no order is made, and why."""

    symbol: str
    reason: str


@dataclass(frozen=True)
class RebalancePlan:
    """Orders in the order in which they are to be placed: all sells, then all buys. `equity` in
    quote units.
    """

    equity: Decimal
    orders: tuple[ProposedOrder, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class Book:
    """What a plan is made from. Quantities by asset, prices (quote units) and instruments by
    symbol.
    """

    targets: Mapping[str, float | None]
    positions: Mapping[str, Decimal]
    prices: Mapping[str, Decimal]
    instruments: Mapping[str, Instrument]
    policy: RebalancePolicy

    def __post_init__(self) -> None:
        for symbol in self.targets:
            if symbol in self.instruments and self.instruments[symbol].quote != self.policy.quote:
                raise ConfigError(
                    f"{symbol} is not quoted in {self.policy.quote}: an account trades against one quote asset"
                )

    @property
    def cash(self) -> Decimal:
        return self.positions.get(self.policy.quote, _ZERO)

    @property
    def held(self) -> dict[str, Decimal]:
        """Quantity by symbol of every held asset that has a market against the quote asset."""
        held = holdings_by_symbol(self.positions, self.policy.quote, self.instruments)
        return {symbol: quantity for symbol, quantity in held.items() if quantity > 0}

    @property
    def equity(self) -> Decimal:
        """Cash and everything held at its price. An asset with no market against the quote asset
        counts nothing.

        Raises DataError where a held asset has a market but no price: every weight would be a
        fraction of a wrong sum.
        """
        held = self.held
        unpriced = sorted(symbol for symbol in held if symbol not in self.prices)
        if unpriced:
            raise DataError(
                f"{unpriced} are held and have no price: equity cannot be known until the venue prices them"
            )
        return self.cash + sum(
            (quantity * self.prices[symbol] for symbol, quantity in held.items()), _ZERO
        )


def plan_rebalance(
    targets: Mapping[str, float | None],
    positions: Mapping[str, Decimal],
    prices: Mapping[str, Decimal],
    instruments: Mapping[str, Instrument],
    policy: RebalancePolicy,
) -> RebalancePlan:
    """Return the orders that bring `positions` (by asset) to `targets` (fraction of equity by
    symbol; None holds).

    Sells come first; buys are sized to the cash that the sells should yield after costs. Every
    order is legal at the venue. What gets no order is listed with its reason.
    """
    book = Book(targets, positions, prices, instruments, policy)
    sells, skipped_sells = plan_sells(book)
    after = dict(positions)
    for order in sells:
        asset = instruments[order.symbol].base
        after[asset] -= order.quantity
        after[policy.quote] = after.get(policy.quote, _ZERO) + order.notional * (
            1 - policy.cost_fraction
        )
    buys, skipped_buys = plan_buys(replace(book, positions=after), book.equity)
    return RebalancePlan(book.equity, (*sells, *buys), (*skipped_sells, *skipped_buys))


def plan_sells(book: Book) -> tuple[list[ProposedOrder], list[Skipped]]:
    """Return the sells, sorted by symbol, and what was skipped; includes assets outside the
    universe, by policy.
    """
    equity = book.equity
    orders: list[ProposedOrder] = []
    skipped: list[Skipped] = []
    for symbol, weight in sorted(_wanted(book, skipped).items()):
        held = book.held.get(symbol, _ZERO)
        if held <= 0:
            continue
        price = book.prices[symbol]
        excess = held - max(Decimal(str(weight)), _ZERO) * equity / price
        if excess <= 0:
            continue
        order = ProposedOrder(symbol, Side.SELL, excess, price, weight, Phase.SELLS)
        _keep(book, order, equity, orders, skipped, closes=weight <= 0)
    return orders, skipped


def plan_buys(
    book: Book, equity: Decimal | None = None
) -> tuple[list[ProposedOrder], list[Skipped]]:
    """Return the buys, sorted by symbol, scaled down together to the cash in `book.positions` after
    costs.

    `equity` is what the weights are fractions of: that of `book` unless given.
    """
    base = book.equity if equity is None else equity
    skipped: list[Skipped] = []
    wanted: list[ProposedOrder] = []
    for symbol, weight in sorted(_wanted(book, []).items()):
        if symbol not in book.prices or symbol not in book.instruments:
            skipped.append(Skipped(symbol, "the venue has no market or no price for it"))
            continue
        price = book.prices[symbol]
        lacking = Decimal(str(weight)) * base / price - book.held.get(symbol, _ZERO)
        if lacking > 0:
            _keep(
                book,
                ProposedOrder(symbol, Side.BUY, lacking, price, weight, Phase.BUYS),
                base,
                wanted,
                skipped,
            )
    return _within_cash(book, wanted, skipped), skipped


def _wanted(book: Book, skipped: list[Skipped]) -> dict[str, float]:
    """Return the decided weight by symbol, with what policy says of assets that no target names."""
    wanted = {symbol: weight for symbol, weight in book.targets.items() if weight is not None}
    for symbol, weight in wanted.items():
        if weight < 0:
            skipped.append(
                Skipped(
                    symbol, f"target {weight:g} is short: a spot market can only be sold to zero"
                )
            )
    skipped.extend(
        Skipped(symbol, "no decision: held as it is")
        for symbol in book.held
        if book.targets.get(symbol, 0) is None
    )
    for symbol in (s for s in book.held if s not in book.targets):
        if book.policy.outside_universe == "close":
            wanted[symbol] = 0.0
        else:
            skipped.append(Skipped(symbol, "not in the universe: held by policy"))
    return wanted


def _keep(
    book: Book,
    order: ProposedOrder,
    equity: Decimal,
    kept: list[ProposedOrder],
    skipped: list[Skipped],
    closes: bool = False,
) -> None:
    """Append `order`, rounded to lots, to `kept`, or its symbol and the reason to `skipped`."""
    if not closes and order.notional < book.policy.no_trade_band * equity:
        skipped.append(
            Skipped(order.symbol, f"difference of {order.notional:.2f} is inside the no-trade band")
        )
        return
    instrument = book.instruments[order.symbol]
    rounded = order.resized(_legal_quantity(instrument, order.quantity))
    refusal = instrument.refusal(rounded.quantity, rounded.price)
    if refusal is None:
        kept.append(rounded)
    else:
        skipped.append(Skipped(order.symbol, refusal))


def _legal_quantity(instrument: Instrument, quantity: Decimal) -> Decimal:
    """Round towards zero to lots, and down to the venue's maximum: what is above it waits for the
    next slot.
    """
    lots = instrument.round_lots(quantity)
    return (
        lots
        if instrument.max_quantity is None
        else min(lots, instrument.round_lots(instrument.max_quantity))
    )


def _within_cash(
    book: Book, buys: list[ProposedOrder], skipped: list[Skipped]
) -> list[ProposedOrder]:
    """Scale all buys by one factor so that they and their costs fit into the cash."""
    cost = sum((order.notional for order in buys), _ZERO) * (1 + book.policy.cost_fraction)
    if cost <= book.cash:
        return buys
    factor = max(book.cash, _ZERO) / cost
    kept: list[ProposedOrder] = []
    for order in buys:
        _keep(book, order.resized(order.quantity * factor), _ZERO, kept, skipped)
    return kept
