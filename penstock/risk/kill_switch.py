"""The kill switch: a file or a database row stops new orders. It is read before every single order, and fails closed."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from penstock.core.accounts import Halt, TradingState
from penstock.core.errors import StoreError
from penstock.ports import Supervision

_STRICTNESS = {TradingState.ACTIVE: 0, TradingState.REDUCE_ONLY: 1, TradingState.HALTED: 2}


@dataclass(frozen=True)
class KillSwitch:
    """The strictest of what the file and the database say of an account.

    The file halts by being there; where its first word is "reduce_only" it stops buys only. A state that cannot be read
    is a halt: an order is never sent because a question failed.
    """

    account: str
    supervision: Supervision
    file: Path | None = None

    def read(self) -> Halt:
        """Return the state in force now."""
        from_file = self._read_file()
        if from_file is not None and from_file.state is TradingState.HALTED:
            return from_file
        try:
            from_database = self.supervision.trading_state(self.account)
        except StoreError as error:
            return self._halt(TradingState.HALTED, f"the trading state cannot be read: {error}", "kill switch")
        return strictest(from_database, from_file)

    def _read_file(self) -> Halt | None:
        if self.file is None:
            return None
        try:
            text = self.file.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            return self._halt(TradingState.HALTED, f"the kill switch file cannot be read: {error}", str(self.file))
        word, _, reason = text.partition(" ")
        state = TradingState.REDUCE_ONLY if word == TradingState.REDUCE_ONLY else TradingState.HALTED
        return self._halt(state, reason if word in set(TradingState) and reason else text or "the file exists", str(self.file))

    def _halt(self, state: TradingState, reason: str, by: str) -> Halt:
        return Halt(self.account, state, reason, by, datetime.now(UTC))


def strictest(halt: Halt, other: Halt | None) -> Halt:
    """Return the one of two states that allows less; the first where they allow the same."""
    return other if other is not None and _STRICTNESS[other.state] > _STRICTNESS[halt.state] else halt
