"""Trading states: what one forbids, and what several come to together.

The strictest is in force, and whatever any of them asks for is done.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class TradingState(StrEnum):
    """What an account may do."""

    ACTIVE = "active"
    """It trades."""
    REDUCE_ONLY = "reduce_only"
    """Only orders that make a position smaller pass."""
    HALTED = "halted"
    """No order passes."""


@dataclass(frozen=True)
class Halt:
    """A trading state: whose, why, since when, and what it asks for besides."""

    account: str
    """The account, or "*" for every account."""
    state: TradingState
    """What the account may do."""
    reason: str
    """Why, as whoever set it says."""
    by: str
    """Who set it: an operator, a risk rule, a file."""
    at: datetime
    """When it was set (UTC)."""
    cancel: bool = False
    """Whether the working orders are to be cancelled."""
    flatten: bool = False
    """Whether every position is to be closed. What reduces passes then, halted or not."""

    def forbids(self, *, reduces: bool) -> bool:
        """Return whether an order may not be sent.

        `reduces` is whether the order makes a position smaller.
        """
        if reduces and (self.flatten or self.state is TradingState.REDUCE_ONLY):
            return False
        return self.state is not TradingState.ACTIVE


_STRICTNESS = {TradingState.ACTIVE: 0, TradingState.REDUCE_ONLY: 1, TradingState.HALTED: 2}


def stricter(state: TradingState, other: TradingState) -> bool:
    """Return whether `state` allows less than `other`."""
    return _STRICTNESS[state] > _STRICTNESS[other]


def united(halts: Sequence[Halt]) -> Halt:
    """Return what the halts of all sources (at least one) come to.

    The strictest gives state, account and time; among equals the first does. Cancel and flatten are
    asked for where any source that is not ACTIVE asks for them: a plain halt does not hide
    another's order to close everything. Reason and `by` name every such source, the strictest
    first.
    """
    asking = [halt for halt in halts if halt.state is not TradingState.ACTIVE]
    asking.sort(key=lambda halt: _STRICTNESS[halt.state], reverse=True)
    if not asking:
        return halts[0]
    return replace(
        asking[0],
        reason="; ".join(dict.fromkeys(halt.reason for halt in asking if halt.reason)),
        by=", ".join(dict.fromkeys(halt.by for halt in asking if halt.by)),
        cancel=any(halt.cancel for halt in asking),
        flatten=any(halt.flatten for halt in asking),
    )
