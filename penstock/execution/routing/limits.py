"""The limits of an order on its parts at several venues: their prices and their summed notional.

Pure. The review saw one price, that of the account's first venue. Each part trades at the price of
its own venue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from penstock.core.amounts import plain, to_step
from penstock.core.instruments import Instrument
from penstock.core.orders import Side
from penstock.core.positions import reduces
from penstock.core.proposals import ProposedOrder

_ZERO = Decimal(0)


@dataclass(frozen=True)
class PartLimits:
    """The limits on the parts of an order."""

    collar: Decimal | None = None
    """How far a venue's mid may be from the approved price, as a fraction; None for any."""
    max_notional: Decimal | None = None
    """The largest summed notional of the parts (quote units); None for any."""
    exits: Mapping[str, Decimal] = field(default_factory=dict)
    """The positions that are being closed, by symbol. Orders that reduce them have no bounds."""
    ceilings: Mapping[str, Decimal] = field(default_factory=dict)
    """What is left of `ceiling` where parts are sent over time (quote units by symbol)."""

    def objection(self, order: ProposedOrder, mid: Decimal) -> str:
        """Return why no part may trade at `mid`; "" where it may.

        It may where |mid / approved price - 1| <= collar.
        """
        if self.collar is None or self._is_exit(order):
            return ""
        distance = abs(mid / order.price - 1)
        if distance <= self.collar:
            return ""
        return (
            f"quotes {to_step(mid)}, {distance:.1%} from the approved price {plain(order.price)}; "
            f"at most {self.collar:.1%} is allowed"
        )

    def ceiling(self, order: ProposedOrder) -> Decimal | None:
        """Return the largest summed notional of the parts, each at its venue's mid; None for any.

        A buy never spends more than was approved.
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
    """Return the parts, cut or left out so that their summed notional is at most `ceiling`.

    Parts are cut to whole lots. `instruments` are by venue. A part that must be cut is left out
    where its instrument is unknown.
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
    """Return the part cut to whole lots worth at most `notional`; None where that is too small."""
    if instrument is None:
        return None
    cut = part.resized(instrument.round_lots(notional / part.price))
    return cut if cut.quantity > 0 and instrument.refusal(cut.quantity, cut.price) is None else None
