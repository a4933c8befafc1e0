"""What the review of a whole order demands of its parts: at which price a venue may have one, and
what all may come to. Pure.

The review looked at one price, that of the account's first venue; each part trades at its own
venue's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from penstock.core.instruments import Instrument
from penstock.core.orders import Side
from penstock.core.positions import reduces
from penstock.core.proposals import ProposedOrder

_ZERO = Decimal(0)


@dataclass(frozen=True)
class PartLimits:
    """The limits that hold for the parts of an order, as they hold for the order."""

    collar: Decimal | None = None
    """How far a venue's mid may be from the approved price, as a fraction; None is no bound."""
    max_notional: Decimal | None = None
    """What the parts may come to (quote units); None is no bound."""
    exits: Mapping[str, Decimal] = field(default_factory=dict)
    """The positions that are being closed, by symbol: what reduces them is not bounded."""
    ceilings: Mapping[str, Decimal] = field(default_factory=dict)
    """What is left of `ceiling` where parts are sent over time (quote units, by symbol)."""

    def objection(self, order: ProposedOrder, mid: Decimal) -> str:
        """Return why no part may trade around `mid`, "" where it may: |mid / approved price - 1| <=
        collar.
        """
        if self.collar is None or self._is_exit(order):
            return ""
        distance = abs(mid / order.price - 1)
        if distance <= self.collar:
            return ""
        return (
            f"quotes {mid:f}, {distance:.1%} from the approved price {order.price:f}; at most "
            f"{self.collar:.1%} is allowed"
        )

    def ceiling(self, order: ProposedOrder) -> Decimal | None:
        """Return what an order's parts may come to, each at its venue's mid; None is no bound.

        A buy never spends more than was approved. A sell's quantity bounds it, whatever more it
        yields.
        """
        if order.symbol in self.ceilings:
            return self.ceilings[order.symbol]
        if self._is_exit(order):
            return None
        known = [self.max_notional] if self.max_notional is not None else []
        return min([*known, order.notional]) if order.side is Side.BUY else min(known, default=None)

    def _is_exit(self, order: ProposedOrder) -> bool:
        return reduces(order, self.exits.get(order.symbol, _ZERO))


def within(
    ceiling: Decimal | None, parts: Sequence[ProposedOrder], instruments: Mapping[str, Instrument]
) -> tuple[ProposedOrder, ...]:
    """Return the parts, the last ones cut to whole lots or left out so that together they come to
    no more than `ceiling`.

    `instruments` are by venue; a part that has to be cut and whose rules are not known is left out.
    """
    if ceiling is None:
        return tuple(parts)
    left, kept = max(ceiling, _ZERO), []
    for part in parts:
        cut = part if part.notional <= left else _cut(part, left, instruments.get(part.venue))
        if cut is None:
            continue
        left -= cut.notional
        kept.append(cut)
    return tuple(kept)


def _cut(
    part: ProposedOrder, notional: Decimal, instrument: Instrument | None
) -> ProposedOrder | None:
    """Return as many whole lots of the part as come to `notional`; None where its venue takes none
    so small.
    """
    if instrument is None:
        return None
    cut = part.resized(instrument.round_lots(notional / part.price))
    return cut if cut.quantity > 0 and instrument.refusal(cut.quantity, cut.price) is None else None
