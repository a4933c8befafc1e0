"""What an account holds and what it is worth at the newest prices that are known.

No venue is asked. What trades is valued in penstock.execution.prices, where prices are confirmed.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

from penstock.core.cost_basis import CostBasis
from penstock.core.instruments import Instrument, spot_assets, spot_symbol

_ZERO = Decimal(0)


@dataclass(frozen=True)
class LastPrice:
    """A price, and when it was one."""

    value: Decimal
    """Quote units."""
    at: datetime
    """The close of the bar, or the time of the trade, that it is from (UTC)."""
    source: str
    """What it is from: "fill", or the bar, like "1d bar"."""


@dataclass(frozen=True)
class Position:
    """What is held of one asset, and what it is worth. None is unknown, never zero."""

    symbol: str
    """Its market against the account's quote asset."""
    quantity: Decimal
    """Base units, by the ledger."""
    basis: CostBasis
    """What of it the fills have bought, and for how much: an opening balance or a deposit has no
    cost."""
    price: LastPrice | None
    """The newest one that is known: a stored close, or a fill that is newer."""
    age: timedelta | None
    """How old the price is; None without a price, and where the venue's time is not known."""
    counted: bool = True
    """Whether it counts in equity (`uncounted_assets` of the portfolio)."""

    @property
    def asset(self) -> str:
        """The asset that is held."""
        return spot_assets(self.symbol)[0]

    @property
    def value(self) -> Decimal | None:
        """quantity x price, in quote units."""
        return None if self.price is None else self.quantity * self.price.value

    @property
    def entry_price(self) -> Decimal | None:
        """The average price paid, without fees in quote (quote units); None where no fill bought
        it.
        """
        return self.basis.price

    @property
    def unrealised(self) -> Decimal | None:
        """What was bought of it x (price - entry price), in quote units.

        What came otherwise has no cost, and so neither gain nor loss. Where less is held than was
        bought (a withdrawal), that counts.
        """
        if self.price is None or self.entry_price is None:
            return None
        bought = min(self.quantity, self.basis.quantity)
        return bought * (self.price.value - self.entry_price)


@dataclass(frozen=True)
class Holdings:
    """What an account has: cash and positions."""

    account: str
    """The account's name."""
    quote: str
    """The asset that it counts in."""
    cash: Decimal
    """What it has of the quote asset."""
    positions: tuple[Position, ...]
    """Everything else that it has, sorted by symbol."""
    instruments: Mapping[str, Instrument] = field(default_factory=dict)
    """The instruments that its orders were planned with, by symbol: how amounts are written."""

    @property
    def unpriced(self) -> tuple[str, ...]:
        """The symbols that count and of which no price is stored."""
        return tuple(p.symbol for p in self.positions if p.counted and p.price is None)

    @property
    def prices(self) -> tuple[LastPrice, ...]:
        """The prices of which equity is made, the oldest first."""
        found = [p.price for p in self.positions if p.counted and p.price is not None]
        return tuple(sorted(found, key=lambda price: price.at))

    @property
    def equity(self) -> Decimal | None:
        """Cash and every position that counts, in quote units; None where a price is unknown."""
        values = [position.value for position in self.positions if position.counted]
        known = [value for value in values if value is not None]
        return self.cash + sum(known, _ZERO) if len(known) == len(values) else None

    def weight(self, value: Decimal | None) -> Decimal | None:
        """Return a value as a fraction of equity; None where either is unknown."""
        equity = self.equity
        return None if value is None or not equity else value / equity


def holdings_of(
    account: str,
    quote: str,
    balances: Mapping[str, Decimal],
    bases: Mapping[str, CostBasis],
    prices: Mapping[str, LastPrice],
    now: datetime | None,
    uncounted: Collection[str] = (),
    instruments: Mapping[str, Instrument] = MappingProxyType({}),
) -> Holdings:
    """Return what an account holds, valued.

    `balances` are the ledger's by asset; `bases`, `prices` and `instruments` are by symbol.
    `now` is the venue's time; None where it is not known.
    """
    positions = []
    for asset, quantity in sorted(balances.items()):
        if asset == quote or not quantity:
            continue
        symbol = spot_symbol(asset, quote)
        price = prices.get(symbol)
        age = None if price is None or now is None else max(now - price.at, timedelta(0))
        counted = asset not in uncounted
        basis = bases.get(symbol, CostBasis())
        positions.append(Position(symbol, quantity, basis, price, age, counted))
    return Holdings(account, quote, balances.get(quote, _ZERO), tuple(positions), instruments)


def newest(found: Iterable[tuple[str, LastPrice]]) -> dict[str, LastPrice]:
    """Return the newest price of each symbol; of two of one instant the first."""
    prices: dict[str, LastPrice] = {}
    for symbol, price in found:
        if symbol not in prices or price.at > prices[symbol].at:
            prices[symbol] = price
    return prices
