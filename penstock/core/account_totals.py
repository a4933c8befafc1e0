"""How much an account has done.

A total is declared once, as a field of AccountTotals. The statement of the ledger, the in-memory
ledger and the table that people read are made from these fields.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal, localcontext
from enum import StrEnum
from functools import reduce
from operator import add, mul
from typing import Any, Self

from penstock.core.accounting import EXACT
from penstock.core.order_records import OrderRecord
from penstock.core.orders import Fill
from penstock.core.rebalances import RebalanceStatus


class Aggregate(StrEnum):
    """What is made of an account's orders or fills. The value is its name in SQL."""

    COUNT = "count"
    """How many there are."""
    SUM = "sum"
    """The sum of their values."""


@dataclass(frozen=True)
class Total:
    """How a total is made."""

    aggregate: Aggregate
    of: type[OrderRecord] | type[Fill]
    """What it is a total of."""
    factors: tuple[str, ...] = ()
    """The fields whose product is the value of one order or fill; none for a count."""

    def over(self, rows: Collection[OrderRecord | Fill]) -> Any:
        """Return the total of these orders or fills; None where none of them has a value.

        One whose field is None has no value.
        """
        if self.aggregate is Aggregate.COUNT:
            return len(rows)
        found = [[getattr(row, name) for name in self.factors] for row in rows]
        with localcontext(EXACT):
            values = [reduce(mul, factors) for factors in found if None not in factors]
            return reduce(add, values) if values else None


@dataclass(frozen=True)
class AccountTotals:
    """How much an account has done.

    A default is what an account has that has no orders or fills.
    """

    slots: Mapping[RebalanceStatus, int]
    """The number of slots by status."""
    orders: int = field(default=0, metadata={"total": Total(Aggregate.COUNT, OrderRecord)})
    """The number of orders."""
    fills: int = field(default=0, metadata={"total": Total(Aggregate.COUNT, Fill)})
    """The number of fills."""
    traded_notional: Decimal = field(
        default=Decimal(0), metadata={"total": Total(Aggregate.SUM, Fill, ("quantity", "price"))}
    )
    """The notional of all fills, in quote units."""

    @classmethod
    def of(cls, slots: Mapping[RebalanceStatus, int], figures: Mapping[str, Any]) -> Self:
        """Return the totals with these figures, by field. One that is None is left out."""
        return cls(slots, **{name: each for name, each in figures.items() if each is not None})


#: How each total is made, by field of AccountTotals.
TOTALS: Mapping[str, Total] = {
    each.name: each.metadata["total"] for each in fields(AccountTotals) if "total" in each.metadata
}
