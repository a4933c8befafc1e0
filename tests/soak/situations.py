"""What the venue shows wrongly or not at all, minute by minute: the same for the same seed.

A block of minutes has one suspension, one late symbol, two wrong prints, some minutes of short
candle pages and, in some blocks, a market order limit that cuts one order into many. Windows
lie around the minutes at which all weights change, so that they meet what is held and what is
wanted. The worker arranges each minute before it trades it, and writes that down with the venue's
time: tests.soak.truth reads it.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from penstock.practice.candle_pages import CandlePages
from penstock.practice.control import PracticeControl

MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
#: All weights change every so many minutes.
TURN_MINUTES = 5
#: The weights that a symbol takes in turn. Ten symbols come to 0.75 at most.
LEVELS = (0.0, 0.05, 0.15)
#: How a wrong ticker comes from the true price.
PRINTS = ("x0.5", "x1.5", "1", "-5")
#: An answer has so few candles in a paged minute, and seven are asked for.
SHORT_PAGE = 3
#: A cut order leaves in pieces of so many quote units: more of them than a page of trades has rows.
PIECE_NOTIONAL, TRADES_PAGE = Decimal(170), 50


def level(slot: datetime, number: int) -> float:
    """Return what the symbol at a place in the list should weigh at a slot."""
    turn = int(slot.timestamp()) // (TURN_MINUTES * 60)
    return LEVELS[(turn + number) % len(LEVELS)]


@dataclass(frozen=True)
class Situation:
    """What is wrong at the venue in one minute."""

    suspended: frozenset[str] = frozenset()
    """Symbols that do not trade."""
    prints: Mapping[str, str] = field(default_factory=dict)
    """Which of PRINTS a symbol's ticker shows."""
    late: Mapping[str, int] = field(default_factory=dict)
    """By how many bars a symbol's candles are late."""
    paged: bool = False
    """Whether candles come in pages of SHORT_PAGE."""
    cut: frozenset[str] = frozenset()
    """Symbols of which the venue takes small market orders only."""


@dataclass(frozen=True)
class Situations:
    """The situations of every minute."""

    symbols: Sequence[str]
    first: datetime
    """The first slot."""
    seed: int
    block: int
    """The minutes of a block, a multiple of 10."""
    cut_every: int
    """One block of so many has a symbol of which small market orders are taken only."""

    def at(self, slot: datetime) -> Situation:
        """Return the situation of a slot."""
        number, place = divmod((slot - self.first) // MINUTE, self.block)
        chance = random.Random(f"{self.seed}/{number}")
        suspended, late, first, second = chance.sample(list(self.symbols), 4)
        prints = {
            symbol: PRINTS[(2 * number + n) % len(PRINTS)]
            for n, (symbol, wanted) in enumerate(
                [(first, self._turn(chance)), (second, chance.randrange(self.block))]
            )
            if place == wanted
        }
        stops = self._window(chance, 5)
        lateness, delayed = chance.randint(1, 3), self._window(chance, 3)
        paged, turn = self._window(chance, 4), self._turn(chance)
        bought = slot - (place - turn) * MINUTE
        heavy = [each for n, each in enumerate(self.symbols) if level(bought, n) == LEVELS[-1]]
        is_cut = number % self.cut_every == 0 and place in (turn, turn + 1)
        return Situation(
            frozenset({suspended} if place in stops else ()),
            prints,
            {late: lateness} if place in delayed else {},
            place in paged,
            frozenset({chance.choice(heavy)} if is_cut else ()),
        )

    def _turn(self, chance: random.Random) -> int:
        return chance.randrange(0, self.block, TURN_MINUTES)

    def _window(self, chance: random.Random, longest: int) -> range:
        """Return two minutes at least around a turn, within the block."""
        first = max(self._turn(chance) - chance.randint(0, 1), 0)
        return range(first, min(first + chance.randint(2, longest), self.block))


def printed(kind: str, true: Decimal) -> Decimal:
    """Return the price that a wrong ticker shows."""
    return true * Decimal(kind[1:]) if kind.startswith("x") else Decimal(kind)


@dataclass
class Stage:
    """Arranges the minutes at the venue, and writes down from when on which one is in force."""

    control: PracticeControl
    situations: Situations
    record: Path
    true_price: Callable[[str, datetime], Decimal]
    in_force: Situation | None = None
    """What the venue shows now; None where that is not known."""
    arranged: datetime | None = None
    """The slot that it belongs to."""

    def arrange(self, slot: datetime) -> None:
        """Bring a slot's situation about, and the venue's clock to the slot. What leaves then
        leaves later by that clock than what is written down.
        """
        if self.in_force is not None and self.arranged == slot:
            return
        situation = self.situations.at(slot)
        was, self.in_force = self.in_force, None
        at = self.control.now()
        note(self.record, at, slot)
        if was is None or was.suspended != situation.suspended:
            self.control.end_suspensions()
            for symbol in situation.suspended:
                self.control.suspend(symbol)
        if was is None or was.late != situation.late:
            self.control.end_delays()
            for symbol, bars in situation.late.items():
                self.control.delay_candles(symbol, bars * 60)
        if was is None or was.paged != situation.paged:
            most = SHORT_PAGE if situation.paged else CandlePages.most
            self.control.page_candles(CandlePages(most=most))
        if was is None or was.prints != situation.prints or situation.prints:
            self.control.clear_prices()
            for symbol, kind in situation.prints.items():
                price = printed(kind, self.true_price(symbol, slot + SECOND))
                self.control.print_price(symbol, price)
        for symbol in self.situations.symbols if was is None else was.cut - situation.cut:
            self.control.limit_orders(symbol)
        for symbol in situation.cut:
            most_quantity = PIECE_NOTIONAL / self.true_price(symbol, slot + SECOND)
            self.control.limit_orders(symbol, market_quantity=round(most_quantity, 3))
        self.control.step(to=max(slot + SECOND, at + timedelta(milliseconds=1)))
        self.in_force, self.arranged = situation, slot


def note(record: Path, at: datetime, slot: datetime | None) -> None:
    """Write down that after `at`, by the venue's clock, a slot is arranged.

    None is for a venue that came back: it shows what is so until the slot is arranged again.
    """
    line = {"at": round(at.timestamp() * 1000), "slot": None if slot is None else slot.isoformat()}
    with record.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
