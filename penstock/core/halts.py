"""What several trading states come to together: the strictest is in force, and whatever any of them
asks for is done.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class TradingState(StrEnum):
    ACTIVE = "active"
    REDUCE_ONLY = "reduce_only"
    HALTED = "halted"


@dataclass(frozen=True)
class Halt:
    """Why an account (or "*": every account) may not trade freely, who said so and when.

    `cancel` asks that the working orders be cancelled, `flatten` that every position be closed:
    sells pass then, though the account is halted.
    """

    account: str
    state: TradingState
    reason: str
    by: str
    at: datetime
    cancel: bool = False
    flatten: bool = False


_STRICTNESS = {TradingState.ACTIVE: 0, TradingState.REDUCE_ONLY: 1, TradingState.HALTED: 2}


def stricter(state: TradingState, other: TradingState) -> bool:
    """Return whether `state` allows less than `other`."""
    return _STRICTNESS[state] > _STRICTNESS[other]


def united(halts: Sequence[Halt]) -> Halt:
    """Return what at least one source of halts comes to; among those as strict the first gives its
    account and time.

    Cancel and flatten are asked for where any source that is not ACTIVE asks for them: a plain halt
    does not hide another's order to get out. Reason and `by` name every such source, the strictest
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
