"""TWAP and VWAP: slices on a grid of equal intervals."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from penstock.core.instruments import Instrument
from penstock.core.proposals import ProposedOrder
from penstock.execution.algorithms.children import ChildOrder, cut
from penstock.execution.algorithms.styles import Twap, Vwap
from penstock.execution.algorithms.volume import VolumeProfile


def plan_twap(order: ProposedOrder, instrument: Instrument, style: Twap) -> tuple[ChildOrder, ...]:
    """Return equal slices, one at the start of each interval.

    There are fewer where the venue's minimum needs larger ones.
    """
    return _sliced(order, instrument, style, [Decimal(1)] * style.slices)


def plan_vwap(
    order: ProposedOrder,
    instrument: Instrument,
    style: Vwap,
    profile: VolumeProfile,
    start: datetime,
) -> tuple[ChildOrder, ...]:
    """Return slices in proportion to the expected volume of each interval from `start` on."""
    return _sliced(order, instrument, style, profile.shares(start, style.interval, style.slices))


def _sliced(
    order: ProposedOrder, instrument: Instrument, style: Twap | Vwap, shares: Sequence[Decimal]
) -> tuple[ChildOrder, ...]:
    pieces = cut(order, shares, instrument)
    return tuple(
        ChildOrder(style.child_type, quantity, at=index * style.interval, number=number)
        for number, (index, quantity) in enumerate(pieces)
    )
