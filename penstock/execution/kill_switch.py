"""The kill switch: a file or a database row stops new orders.

It is checked before every order. Where it cannot be read, no order leaves.
"""

import threading
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from penstock.core.clock import MachineClock
from penstock.core.errors import StoreError
from penstock.core.halts import Halt, TradingState, united
from penstock.ports import HaltStore

_ACTIONS = ("cancel", "flatten")
_WORDS = (TradingState.HALTED.value, TradingState.REDUCE_ONLY.value, *_ACTIONS)


@dataclass(frozen=True)
class KillSwitch:
    """The strictest state of the file and the database, with everything that either asks for.

    The file halts the account where it exists. Where its first word is "reduce_only", orders that
    reduce still pass. The next word may be "cancel" or "flatten": "cancel" asks that working orders
    are cancelled, "flatten" that every position is closed too. In which case they are written does
    not matter. A word in their place that is none of them halts, and the reason names it. A state
    that cannot be read is a halt.
    """

    account: str
    """The account's name."""
    halts: HaltStore | None = None
    """Has the state in the database; None where there is none."""
    file: Path | None = None
    """The kill switch file; None where there is none."""
    clock: MachineClock = field(kw_only=True)
    """Dates the halts of the file, and measures the age of a reading."""

    def read(self) -> Halt:
        """Return the state in force now."""
        from_file, from_database = self._read_file(), self._read_database()
        return united([from_database] if from_file is None else [from_file, from_database])

    def _read_database(self) -> Halt:
        if self.halts is None:
            return self._halt(TradingState.ACTIVE, "never set", "")
        try:
            return self.halts.trading_state(self.account)
        except StoreError as error:
            return self._halt(
                TradingState.HALTED, f"the trading state cannot be read: {error}", "kill switch"
            )

    def _read_file(self) -> Halt | None:
        if self.file is None:
            return None
        try:
            text = self.file.read_text(encoding="utf-8-sig").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            return self._halt(
                TradingState.HALTED, f"the kill switch file cannot be read: {error}", str(self.file)
            )
        words = text.split()
        first = _plain(words[0]) if words else ""
        state = (
            TradingState.REDUCE_ONLY if first == TradingState.REDUCE_ONLY else TradingState.HALTED
        )
        names_state = first in set(TradingState)
        words = words[1:] if names_state else words
        action = _plain(words[0]) if words else ""
        reason = " ".join(words[1:] if action in _ACTIONS else words) or text or "the file exists"
        if _is_misread(action, after_state=names_state):
            reason += f" ('{action}' asks for nothing: known are {', '.join(_WORDS)})"
        halt = self._halt(state, reason, str(self.file))
        return replace(halt, cancel=action in _ACTIONS, flatten=action == "flatten")

    def _halt(self, state: TradingState, reason: str, by: str) -> Halt:
        return Halt(self.account, state, reason, by, self.clock.now())


def _plain(word: str) -> str:
    """Return the word as it is known, however it was written."""
    return word.strip("\"'.,:;!").casefold().replace("-", "_")


def _is_misread(word: str, *, after_state: bool) -> bool:
    """Return whether the word may have been meant as an action, and is none. After a state a reason
    may follow: there only a word that looks like an action counts.
    """
    if not word or word in _ACTIONS:
        return False
    return not after_state or bool(get_close_matches(word, _ACTIONS, cutoff=0.75))


@dataclass
class SwitchWatch:
    """The kill switch for many orders. It is read again once the last reading is too old.

    A question to the database before each order of a burst would cost a third of the burst. A
    review, the orders that follow it and their senders share a reading too. The age counts from
    before the reading, and counts the time in which the machine was suspended, because the switch
    may be set in it.
    """

    switch: KillSwitch
    """The switch that is read."""
    max_age_seconds: float
    """The oldest reading that may be used again."""
    _last: tuple[float, Halt] | None = field(default=None, init=False)
    _reading: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def look(self) -> Halt:
        """Return the state in force at most `max_age_seconds` ago.

        Threads may share the watch. One of them reads the switch, and the others wait for it.
        """
        with self._reading:
            now = self.switch.clock.elapsed_seconds()
            if self._last is None or now - self._last[0] >= self.max_age_seconds:
                self._last = now, self.switch.read()
            return self._last[1]

    def read(self) -> Halt:
        """Return the state in force now; `look` returns nothing older from here on."""
        with self._reading:
            self._last = self.switch.clock.elapsed_seconds(), self.switch.read()
            return self._last[1]
