"""Trading states: what one forbids, and what several forbid together.

The strictest is in force. What any of them asks for is done.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

#: The account of a halt that binds every account.
EVERY_ACCOUNT = "*"


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
    """A trading state of an account, and what it asks for besides."""

    account: str
    """The account, or EVERY_ACCOUNT."""
    state: TradingState
    """What the account may do."""
    reason: str
    """Why it was set."""
    by: str
    """Who set it: an operator, a risk rule, a file."""
    at: datetime
    """When it was set (UTC)."""
    cancel: bool = False
    """Whether the working orders are to be cancelled."""
    flatten: bool = False
    """Whether every position is to be closed. An order that reduces passes then in every state."""

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
    """Return one halt for the halts of all sources (at least one).

    The strictest gives state, account and time; among equals the first does. `cancel` and `flatten`
    are true where any source that is not ACTIVE asks for them. Reason and `by` name every such
    source, the strictest first.
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
