"""From weights to orders, in Decimal: what to sell, then what to buy with the cash.

Pure. penstock.risk reviews the orders, and penstock.execution sends them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from penstock.core.amounts import money, plain
from penstock.core.errors import ConfigError
from penstock.core.instruments import Instrument, holdings_by_symbol, spot_assets
from penstock.core.orders import Phase, Side
from penstock.core.proposals import ProposedOrder
from penstock.core.valuation import Equity, Price, PriceState

_ZERO = Decimal(0)
_BPS = Decimal(10_000)
_NO_PRICE = (
    "it is held and no price of it is known: sell or withdraw it, or name its asset in the "
    "policy's uncounted_assets"
)


class RebalancePolicy(BaseModel):
    """How weights become orders."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    quote: str = "USDT"
    """The asset that the account trades against."""
    no_trade_band: Decimal = Field(default=Decimal("0.005"), ge=0, lt=1)
    """Differences below this fraction of equity are not traded. A close always is."""
    fee_bps: Decimal = Field(default=Decimal(10), ge=0, lt=1000)
    """The fee that buys leave cash for."""
    slippage_bps: Decimal = Field(default=Decimal(10), ge=0, lt=1000)
    """The slippage that buys leave cash for."""
    outside_universe: Literal["close", "hold"] = "hold"
    """What is done with a position that no target names."""
    uncounted_assets: tuple[str, ...] = ()
    """Assets that count nothing in equity and are not traded, such as one without a market."""
    keep: dict[str, Decimal] = Field(default_factory=dict)
    """How much of an asset is never sold, such as {BNB: 0.5} for fees. It counts in equity."""

    @model_validator(mode="before")
    @classmethod
    def _name_the_style_of_execution(cls, data: object) -> object:
        gone = {"order_type", "limit_offset_bps"} & data.keys() if isinstance(data, dict) else set()
        if gone:
            raise ValueError(
                f"{' and '.join(sorted(gone))} are no settings of rebalancing any more: how orders "
                "are worked is the portfolio's `execution`, for example "
                "`execution: {algorithm: limit, offset_bps: 5}`"
            )
        return data

    @model_validator(mode="after")
    def _keep_is_a_reserve(self) -> Self:
        if self.quote in self.keep:
            raise ValueError(
                f"keep: {self.quote} is what is paid with; a quota below 1 leaves cash"
            )
        bad = {asset: held for asset, held in self.keep.items() if not held > 0}
        if bad:
            raise ValueError(f"keep: a reserve is above zero, not {bad}")
        return self

    @property
    def cost_fraction(self) -> Decimal:
        """Fees and slippage as a fraction of notional."""
        return (self.fee_bps + self.slippage_bps) / _BPS


@dataclass(frozen=True)
class Skipped:
    """A symbol for which no order is made, or less than is wanted, and why."""

    symbol: str
    """The symbol."""
    reason: str
    """Why, for people."""


@dataclass(frozen=True)
class Book:
    """The account and its targets, as a plan is made from them.

    Raises ConfigError for a target in another quote asset.
    """

    targets: Mapping[str, float | None]
    """Fractions of equity by symbol. None is no decision: the position is kept."""
    balances: Mapping[str, Decimal]
    """What the account has, by asset."""
    prices: Mapping[str, Decimal]
    """What a symbol counts with (quote units)."""
    instruments: Mapping[str, Instrument]
    """What the venue trades now, by symbol."""
    policy: RebalancePolicy
    """How weights become orders."""
    budget: float = 1.0
    """The fraction of equity that all targets together may have."""
    unsure: Mapping[str, Price] = field(default_factory=dict)
    """The prices that are not confirmed, by symbol."""
    missing: Mapping[str, Decimal] = field(default_factory=dict)
    """What the ledger has of an asset and an open break says is gone: it is not in `balances`."""
    lent: Decimal = _ZERO
    """How much of the quote asset is in an earn programme: it counts, and pays nothing."""
    in_doubt: Mapping[str, str] = field(default_factory=dict)
    """Why the quantity of a symbol that is held is in doubt."""

    def __post_init__(self) -> None:
        for symbol in self.targets:
            if symbol in self.instruments and self.instruments[symbol].quote != self.policy.quote:
                raise ConfigError(
                    f"{symbol} is not quoted in {self.policy.quote}: "
                    "an account trades against one quote asset"
                )

    @property
    def cash(self) -> Decimal:
        """What the account has of the quote asset."""
        return self.balances.get(self.policy.quote, _ZERO)

    @cached_property
    def positions(self) -> dict[str, Decimal]:
        """Quantity by symbol of every asset that is held, whether or not the venue trades it.

        Assets that the policy does not count are left out.
        """
        counted = {
            asset: quantity
            for asset, quantity in self.balances.items()
            if quantity > 0 and asset not in self.policy.uncounted_assets
        }
        return holdings_by_symbol(counted, self.policy.quote)

    @cached_property
    def valuation(self) -> Equity:
        """What the account is worth, and what of it is unknown."""
        value, unknown = self.cash + self.lent, dict(self.in_doubt)
        for symbol, quantity in self.positions.items():
            if symbol in self.prices:
                value += quantity * self.prices[symbol]
            else:
                unknown[symbol] = _NO_PRICE
        for symbol in holdings_by_symbol(self.missing, self.policy.quote):
            if symbol not in self.prices:
                unknown[symbol] = _NO_PRICE
        for symbol, price in self.unsure.items():
            if price.state is PriceState.IN_DOUBT and symbol in self.positions:
                unknown[symbol] = price.reason
        return Equity(value, unknown)

    @property
    def equity(self) -> Decimal:
        """The value of `valuation` (quote units)."""
        return self.valuation.value

    @property
    def missing_value(self) -> Decimal:
        """What `missing` is worth (quote units). It counts nothing and is no loss."""
        gone = holdings_by_symbol(self.missing, self.policy.quote)
        return self.missing.get(self.policy.quote, _ZERO) + sum(
            (quantity * self.prices.get(symbol, _ZERO) for symbol, quantity in gone.items()), _ZERO
        )

    @cached_property
    def crumbs(self) -> frozenset[str]:
        """The symbols that are held and of which nothing can be sold."""
        return frozenset(symbol for symbol in self.positions if not self.can_be_sold(symbol))

    def can_be_sold(self, symbol: str) -> bool:
        """Return whether what is held above its reserve is enough for an order.

        What has no instrument or no price counts as enough: nobody knows that it is not.
        """
        held = self.positions.get(symbol, _ZERO) - self.reserve(symbol)
        instrument, price = self.instruments.get(symbol), self.prices.get(symbol)
        if held <= 0 or instrument is None or price is None:
            return held > 0
        return instrument.refusal(instrument.round_lots(held), price) is None

    def reserve(self, symbol: str) -> Decimal:
        """Return how much of a symbol's base asset is never sold."""
        return self.policy.keep.get(spot_assets(symbol)[0], _ZERO)

    def untradable(self, symbol: str) -> str | None:
        """Return why no order of a symbol can be planned now; None where one can."""
        if symbol not in self.instruments or symbol not in self.prices:
            known = self.unsure.get(symbol)
            return "the venue has no market or no price for it" if known is None else known.reason
        return None


def plan_sells(book: Book) -> tuple[list[ProposedOrder], list[Skipped]]:
    """Return the sells, sorted by symbol, and what was skipped.

    Positions that no target names are sold where the policy closes them. While equity is unknown,
    only whole positions are sold.
    """
    equity = book.equity
    orders: list[ProposedOrder] = []
    skipped: list[Skipped] = []
    for symbol, weight in sorted(_wanted(book, skipped).items()):
        position = book.positions.get(symbol, _ZERO)
        if position <= 0:
            continue
        if (why := book.untradable(symbol) or _equity_unknown(book, weight)) is not None:
            skipped.append(Skipped(symbol, why))
            continue
        price = book.prices[symbol]
        wanted_quantity = max(Decimal(str(weight)), _ZERO) * equity / price
        reserve = book.reserve(symbol)
        excess = position - max(wanted_quantity, reserve)
        if excess <= 0:
            if position > wanted_quantity:
                skipped.append(Skipped(symbol, f"{plain(reserve)} are kept as a reserve"))
            continue
        order = ProposedOrder(symbol, Side.SELL, excess, price, weight, Phase.SELLS)
        _keep_or_skip(book, order, equity, orders, skipped, closes=weight <= 0)
    return orders, skipped


def plan_buys(book: Book) -> tuple[list[ProposedOrder], list[Skipped]]:
    """Return the buys, sorted by symbol, scaled down together to the book's cash after costs.

    While equity is unknown there are none. A symbol whose price is not confirmed is not bought.
    """
    equity = book.equity
    skipped: list[Skipped] = []
    wanted: list[ProposedOrder] = []
    for symbol, weight in sorted(_wanted(book, []).items()):
        why = book.untradable(symbol) or _equity_unknown(book, weight) or _unconfirmed(book, symbol)
        if why is not None:
            if symbol not in book.positions:
                skipped.append(Skipped(symbol, why))
            continue
        price = book.prices[symbol]
        lacking = Decimal(str(weight)) * equity / price - book.positions.get(symbol, _ZERO)
        if lacking > 0:
            order = ProposedOrder(symbol, Side.BUY, lacking, price, weight, Phase.BUYS)
            if (allowed := _within_position(book, order, skipped)) is not None:
                _keep_or_skip(book, allowed, equity, wanted, skipped)
    return _within_cash(book, wanted, skipped), skipped


def _equity_unknown(book: Book, weight: float) -> str | None:
    """Return why a weight above zero means no quantity now; None where it does."""
    if weight <= 0 or book.valuation.is_known:
        return None
    return f"equity is unknown, so only whole positions are sold ({book.valuation.reason})"


def _unconfirmed(book: Book, symbol: str) -> str | None:
    """Return why the price of a symbol is not to be bought at; None where it is confirmed."""
    known = book.unsure.get(symbol)
    return None if known is None else f"its price is not confirmed: {known.reason}"


def _wanted(book: Book, skipped: list[Skipped]) -> dict[str, float]:
    """Return the decided weight by symbol. The policy decides positions that no target names."""
    wanted = _within_budget(book)
    for symbol, weight in wanted.items():
        if weight < 0:
            skipped.append(
                Skipped(
                    symbol, f"target {weight:g} is short: a spot market can only be sold to zero"
                )
            )
    skipped.extend(
        Skipped(symbol, "no decision: held as it is")
        for symbol in book.positions
        if book.targets.get(symbol, 0) is None
    )
    for symbol in (s for s in book.positions if s not in book.targets):
        if book.policy.outside_universe == "close":
            wanted[symbol] = 0.0
        else:
            skipped.append(Skipped(symbol, "not in the universe: held by policy"))
    return wanted


def _within_budget(book: Book) -> dict[str, float]:
    """Return the decided weights, scaled down together to what the rest leaves of the budget.

    The rest are positions of the universe that no decision moves: they have none, they cannot be
    traded now, or they are to be sold and nothing of them can be. The backtest's kernel has the
    same rule, with a budget of 1.
    """
    decided = {symbol: weight for symbol, weight in book.targets.items() if weight is not None}
    rest = {
        symbol: quantity * book.prices[symbol]
        for symbol, quantity in book.positions.items()
        if symbol in book.targets and symbol in book.prices and _stays(book, symbol)
    }
    total = sum(max(weight, 0.0) for symbol, weight in decided.items() if symbol not in rest)
    if not rest or total <= 0 or book.equity <= 0:
        return decided
    left = book.budget - float(sum(rest.values(), _ZERO) / book.equity)
    factor = max(left, 0.0) / total
    if factor >= 1 - 1e-9:
        return decided
    return {symbol: weight * factor for symbol, weight in decided.items()}


def _stays(book: Book, symbol: str) -> bool:
    """Return whether a position stays as it is, whatever was decided."""
    weight = book.targets[symbol]
    if weight is None or book.untradable(symbol) is not None:
        return True
    return weight <= 0 and symbol in book.crumbs


def _keep_or_skip(
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
            Skipped(
                order.symbol,
                f"difference of {money(order.notional, book.policy.quote)} is inside the no-trade "
                "band",
            )
        )
        return
    instrument = book.instruments[order.symbol]
    rounded = order.resized(instrument.round_lots(order.quantity))
    refusal = instrument.refusal(rounded.quantity, rounded.price)
    if refusal is None:
        kept.append(rounded)
    else:
        skipped.append(Skipped(order.symbol, refusal))


def _within_position(
    book: Book, order: ProposedOrder, skipped: list[Skipped]
) -> ProposedOrder | None:
    """Return the buy cut to what the venue lets the account hold, and note what is cut off."""
    instrument = book.instruments[order.symbol]
    most = instrument.limits.position
    if most is None:
        return order
    room = max(most - book.positions.get(order.symbol, _ZERO), _ZERO)
    if order.quantity <= room:
        return order
    over, wanted = (
        instrument.round_lots(quantity) for quantity in (order.quantity - room, order.quantity)
    )
    reason = (
        f"buy of {plain(over)} of {plain(wanted)}: the venue lets an account hold {plain(most)} "
        f"{instrument.base} at most"
    )
    skipped.append(Skipped(order.symbol, reason))
    return order.resized(room) if room else None


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
        _keep_or_skip(book, order.resized(order.quantity * factor), _ZERO, kept, skipped)
    return kept
