"""The kill switch: a file or a database row stops new orders. It is looked at before every single
order, and fails closed.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from penstock.core.clock import MachineClock
from penstock.core.errors import StoreError
from penstock.core.halts import Halt, TradingState, united
from penstock.ports import HaltStore

_ACTIONS = ("cancel", "flatten")


@dataclass(frozen=True)
class KillSwitch:
    """The strictest of what the file and the database say of an account, with all that they ask
    for.

    The file halts by being there; where its first word is "reduce_only" it stops buys only. The
    word "cancel" or "flatten" after it, or alone, asks besides that working orders be cancelled, or
    every position closed: what one source asks for no other hides. A state that cannot be read is a
    halt: an order is never sent because a question failed.
    """

    account: str
    halts: HaltStore
    file: Path | None = None
    clock: MachineClock = field(kw_only=True)

    def read(self) -> Halt:
        """Return the state in force now."""
        from_file = self._read_file()
        try:
            from_database = self.halts.trading_state(self.account)
        except StoreError as error:
            from_database = self._halt(
                TradingState.HALTED, f"the trading state cannot be read: {error}", "kill switch"
            )
        return united([from_database] if from_file is None else [from_file, from_database])

    def _read_file(self) -> Halt | None:
        if self.file is None:
            return None
        try:
            text = self.file.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            return self._halt(
                TradingState.HALTED, f"the kill switch file cannot be read: {error}", str(self.file)
            )
        words = text.split()
        state = (
            TradingState.REDUCE_ONLY
            if words[:1] == [TradingState.REDUCE_ONLY]
            else TradingState.HALTED
        )
        if words[:1] and words[0] in set(TradingState):
            words = words[1:]
        asked = words[0].rstrip(":") if words else ""
        reason = " ".join(words[1:] if asked in _ACTIONS else words) or text or "the file exists"
        halt = self._halt(state, reason, str(self.file))
        return replace(halt, cancel=asked in _ACTIONS, flatten=asked == "flatten")

    def _halt(self, state: TradingState, reason: str, by: str) -> Halt:
        return Halt(self.account, state, reason, by, self.clock.now())


@dataclass
class SwitchWatch:
    """Looks at the switch before each of many orders, and reads it again once the last reading is
    `max_age_seconds` old.

    To ask the database before each order of a burst costs a third of the burst. The age is measured
    in the machine's elapsed seconds, as the switch is thrown in its time. A machine's sleep counts,
    for the switch may be thrown meanwhile.
    """

    switch: KillSwitch
    max_age_seconds: float
    _last: tuple[float, Halt] | None = field(default=None, init=False)

    def look(self) -> Halt:
        """Return the state in force at most `max_age_seconds` ago. Thread-safe: an instant and its
        reading are kept as one.
        """
        now = self.switch.clock.elapsed_seconds()
        if self._last is None or now - self._last[0] >= self.max_age_seconds:
            self._last = now, self.switch.read()
        return self._last[1]
