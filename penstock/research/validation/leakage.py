"""The leak proof: a strategy's past is decided again with another future, and with a shorter past.

A strategy that reads bars up to t gives the same weight at t for any later bars, on any date, under
any name of the symbols, and with any bars before its warm-up. The proof changes one of
these at a time, builds the strategy anew each time, and compares the weights. It gives two
verdicts: what the strategy sees (leaks), and how far back it remembers (memory).

Its parts, where W is the warm-up, `Strategy.warmup`:

- *Twice the same bars.* Weights that differ then prove nothing else.
- *Prefixes.* All bars after each of twelve rows are removed, the shortest prefix first.
- *Warm-ups.* After each listing, the future is removed every BLOCK_BARS rows until W bars are
  there. The comb looks at the cuts between.
- *Other dates and names.* All bars are moved by 28 years, and the symbols are renamed in the same
  order. A calendar survives that. A file, a cache, a clock, a date or a symbol in the code does
  not. Symbols that are named by a parameter are renamed with the others.
- *Windows.* Before each of twelve rows all but the last W bars are removed.
- *The comb.* BLOCK_BARS rows are changed after every W + 1 unchanged ones, at every offset. So
  every row of the history is a cut of one evaluation, in W + 21 evaluations, whatever its length.

What the proof does not find: a peek at one bar alone that is more than BLOCK_BARS bars away, what
depends on the clock alone and not on bars, and a table that is looked up by price.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from penstock.core.bars import VALUE_COLUMNS
from penstock.core.doubts import DoubtedBar, decide_as_known
from penstock.core.errors import DataError
from penstock.core.panel import Panel
from penstock.core.relistings import Join
from penstock.core.strategy import Strategy
from penstock.core.timeframes import Timeframe
from penstock.research.engine.market import market_of
from penstock.research.validation.bar_changes import (
    BLOCK_BARS,
    CALENDAR_CYCLE,
    LONG_CYCLE,
    BlockChanges,
    Matrix,
    comb,
    compact,
    elsewhere,
    from_window,
    renamed_values,
    until,
)
from penstock.research.validation.fresh_strategy import FreshStrategy
from penstock.research.validation.leak_findings import (
    Change,
    Leak,
    LeakProof,
    LongMemory,
    differs,
    weight_at,
)

#: Called with the number of evaluations that are done, and the number of all.
OnEvaluation = Callable[[int, int], None]

#: The number of prefixes and of windows.
PLACES = 12
#: The number of cuts in doubt that are decided one by one, of one evaluation of the comb.
SUSPECTS = 3
#: How often a longer warm-up is tried, and up to which part of the history.
ROUNDS, LONGEST = 8, 0.7
#: So many of the newest doubted bars are considered: each costs the prefixes a decision of its own.
DOUBTS = 8


def leak_proof(
    strategy: Strategy,
    bars: pl.DataFrame,
    *,
    timeframe: Timeframe | None = None,
    doubts: Sequence[DoubtedBar] = (),
    joins: Sequence[Join] = (),
    series: Mapping[str, pl.DataFrame] | None = None,
    seed: int = 0,
    on_evaluation: OnEvaluation = lambda _done, _total: None,
) -> LeakProof:
    """Return what a strategy sees of later bars, and what it remembers too long.

    Parameters
    ----------
    strategy
        The strategy. It is built anew, from its parameters, for each evaluation.
    bars
        The bars of the whole universe (BARS_SCHEMA).
    timeframe
        The bar length. By default it is the most common step between bars.
    doubts
        Bars that were in doubt at their close. The prefixes are decided as backtests are: without
        what was not known then.
    joins
        Where an operator has joined series over a move, as for a backtest.
    series
        The series beside the bars that the strategy needs, by name, as for a backtest.
    seed
        The seed of the changes.
    on_evaluation
        Called after each planned evaluation, with the number done and the number of all.

    Raises
    ------
    DataError
        The bars cannot be simulated, or are too few to warm the strategy up.
    StrategyError
        A strategy returned weights that break their contract.

    Examples
    --------
    >>> import math
    >>> from datetime import UTC, datetime
    >>> from strategies.ma_cross import MovingAverageCross
    >>> start, end = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 12, 31, tzinfo=UTC)
    >>> days = pl.datetime_range(start, end, "1d", time_unit="ms", eager=True)
    >>> price = pl.Series([100 + 20 * math.sin(n / 20) for n in range(len(days))])
    >>> bars = pl.DataFrame({"symbol": "BTC/USDT", "ts": days}).with_columns(
    ...     open=price, high=price, low=price, close=price, volume=pl.lit(1.0)
    ... )
    >>> leak_proof(MovingAverageCross(), bars).passed
    True
    """
    market = market_of(bars, timeframe, doubts, joins, series)
    needed = strategy.warmup(market.timeframe) + 2
    if len(market.ts) < needed:
        raise DataError(
            f"{strategy.name} needs {needed} bars to be checked, these are {len(market.ts)}"
        )
    known = sorted(market.doubts)[-DOUBTS:]
    return _Proof(strategy, market.panel, known, seed, on_evaluation).result()


class _Proof:
    """A proof in the making: the weights on the bars as they are, and the evaluations so far."""

    def __init__(
        self,
        strategy: Strategy,
        panel: Panel,
        doubts: Sequence[DoubtedBar],
        seed: int,
        on_evaluation: OnEvaluation,
    ) -> None:
        self.name, self.warmup = strategy.name, strategy.warmup(panel.timeframe)
        self.fresh = FreshStrategy(strategy)
        self.panel, self.doubts = panel, doubts
        self.random = np.random.default_rng(seed)
        self.last = len(panel.ts) - 1
        self.on_evaluation = on_evaluation
        self.evaluations, self.planned = 0, 0
        self.failure: Exception | None = None
        self.truth = np.empty(0)

    def result(self) -> LeakProof:
        teeth = comb(self.panel, self.warmup)
        ends, listings = self._prefix_ends(), _listings(self.panel)
        steps = len(range(0, self.warmup + BLOCK_BARS, BLOCK_BARS)) + 1
        self.planned = 2 * len(ends) + steps * len(listings) + len(teeth) + 3
        shortest = self._decided(until(self.panel, ends[0]), as_known=True)  # before all else
        failure = self.failure
        self.truth = self._decided(self.panel)
        if self.failure is not None:
            raise self.failure
        leaks, memory, cuts = self._repeated(), None, 0
        if not leaks:
            memory = self._memory()
            leaks = (
                self._prefixes(ends, shortest, failure)
                or [leak for first in listings for leak in self._warm_up(first)]
                or self._elsewhere()
            )
            if not leaks:
                leaks, memory, cuts = self._combed(teeth, memory)
        self.on_evaluation(self.planned, self.planned)
        return LeakProof(
            self.name, tuple(leaks), memory, self.evaluations, cuts, self.fresh.is_reloaded
        )

    def _decided(
        self, panel: Panel, values: dict[str, Any] | None = None, as_known: bool = False
    ) -> Matrix:
        """Return the weights of a new instance; NaN where it has no decision, or where it fails.

        `as_known` is without the bars that were in doubt then, as it is traded.
        """
        self.evaluations += 1
        self.on_evaluation(min(self.evaluations, self.planned - 1), self.planned)
        self.failure = None
        seen, rows, columns = compact(panel)
        found = np.full(panel.close.shape, np.nan)
        try:
            with self.fresh.built(values) as strategy:
                weights = (
                    decide_as_known(strategy, seen, self.doubts)
                    if as_known and self.doubts
                    else strategy.weights(seen)
                )
        except Exception as error:  # noqa: BLE001  # a user's code raises anything; it is a finding
            self.failure = error
        else:
            found[np.ix_(rows, columns)] = weights
        return found

    def _repeated(self) -> list[Leak]:
        """Compare two decisions on the same bars."""
        return self._leaks(self.truth, self._decided(self.panel), Change.NOTHING)

    def _prefix_ends(self) -> list[int]:
        """Return the last rows of the prefixes, drawn over the history. Among them are the last row
        but one, those before the last listing and the last end of a symbol, and those in doubt.
        """
        present = self.panel.present
        begins, ends = present.argmax(axis=0), self.last - present[::-1].argmax(axis=0)
        chosen = {self.last - 1, int(begins.max()) - 1, int(ends[ends < self.last].max(initial=-1))}
        in_doubt = pl.Series([each.ts for each in self.doubts], dtype=self.panel.ts.dtype)
        chosen |= set(self.panel.ts.search_sorted(in_doubt).to_list())
        drawn = self._places(self.warmup)
        return sorted({*drawn, *(row for row in chosen if self.warmup <= row < self.last)})

    def _places(self, first: int) -> list[int]:
        """Return PLACES rows from `first` to the last but one, one drawn of each equal part."""
        if first >= self.last:
            return []
        parts = np.linspace(first, self.last, PLACES + 1)
        drawn = self.random.uniform(parts[:-1], parts[1:]).astype(int)
        return sorted({min(int(row), self.last - 1) for row in drawn})

    def _prefixes(self, ends: list[int], shortest: Matrix, failure: Exception | None) -> list[Leak]:
        """Compare with decisions that were made without any later bar."""
        truth = self._decided(self.panel, as_known=True) if self.doubts else self.truth
        self.failure = failure
        found = self._leaks(truth, shortest, Change.REMOVED, ends[0])
        for end in ends[1:]:
            again = self._decided(until(self.panel, end), as_known=True)
            found += self._leaks(truth, again, Change.REMOVED, end)
        return found

    def _warm_up(self, first: int) -> list[Leak]:
        """Compare decisions in the warm-up after a listing, on the few bars around it."""
        stop = min(first + self.warmup + BLOCK_BARS, self.last)
        begin = max(first - self.warmup - 1, 0)
        around = until(self.panel, stop, begin)
        truth = self._decided(around)
        found = []
        for cut in range(first, stop, BLOCK_BARS):
            again = self._decided(until(around, cut - begin))
            found += self._leaks(truth, again, Change.REMOVED, cut, begin)
        return found

    def _elsewhere(self) -> list[Leak]:
        """Compare with decisions on the same prices at other dates, under other names."""
        both = self._moved(Change.ELSEWHERE, CALENDAR_CYCLE, renamed=True)
        if not both:
            return []
        dates = self._moved(Change.DATES, CALENDAR_CYCLE, renamed=False)
        names = self._moved(Change.NAMES, None, renamed=True)
        lasting = dates and self._moved(Change.DATES, LONG_CYCLE, renamed=False)
        return [*(dates if lasting else []), *names] or ([] if dates else both)

    def _moved(self, change: Change, ahead: timedelta | None, renamed: bool) -> list[Leak]:
        values = renamed_values(self.fresh.values, self.panel.symbols) if renamed else None
        again = self._decided(elsewhere(self.panel, ahead, renamed), values)
        return self._leaks(self.truth, again, change)

    def _memory(self, rows: Sequence[int] = ()) -> LongMemory | None:
        """Compare with decisions from windows, and look for the warm-up with which they agree.

        A weight that still differs with so many earlier bars needs more of them. `rows` are looked
        at besides those that are drawn.
        """
        first, needed = self._too_short(self.warmup, rows)
        if first is None:
            return None
        for _ in range(ROUNDS):
            if needed > self.last * LONGEST:
                break
            found, more = self._too_short(needed, rows)
            if found is None:
                return replace(first, sufficient_bars=needed, tried_bars=needed)
            needed = more
        return replace(first, tried_bars=needed - 1)

    def _too_short(self, warmup: int, rows: Sequence[int]) -> tuple[LongMemory | None, int]:
        """Return a weight that a window of `warmup` earlier bars changes, if any, and the warm-up
        that the windows ask for.
        """
        found, needed = None, warmup
        for row in (*rows, *self._places(warmup + 1)):
            window = from_window(self.panel, row, warmup)
            again = self._decided(window)
            apart = differs(self.truth, again)
            apart[:row] = False
            if not apart.any():
                continue
            earlier = np.cumsum(window.present, axis=0) - 1
            needed = max(needed, int(earlier[apart].max()) + 1)
            at, column = (int(place) for place in np.argwhere(apart)[0])
            if found is None or earlier[at, column] < found.kept_bars:
                found = self._remembered(window, again, at, column)
        return found, needed

    def _remembered(
        self, window: Panel, again: Matrix, row: int, column: int, is_changed: bool = False
    ) -> LongMemory:
        return LongMemory(
            symbol=self.panel.symbols[column],
            ts=self.panel.ts[row],
            warmup_bars=self.warmup,
            before=weight_at(self.truth, row, column),
            after=weight_at(again, row, column),
            kept_bars=int(window.present[:row, column].sum()),
            sufficient_bars=None,
            tried_bars=self.warmup,
            is_changed=is_changed,
        )

    def _combed(
        self, teeth: list[list[int]], memory: LongMemory | None
    ) -> tuple[list[Leak], LongMemory | None, int]:
        """Compare the decisions before blocks of changed bars; return the number of cuts too."""
        changes, cuts = BlockChanges(self.panel), 0
        if memory is not None:  # it is refused anyway: a peek at every bar is still worth a word
            longer = memory.sufficient_bars
            teeth = [[row] for row in self._places(0)]
            teeth = teeth if longer is None else comb(self.panel, longer)[:PLACES]
        for rows in teeth:
            changed = changes.after(rows, self.random)
            again = self._decided(changed)
            cuts += len(rows)
            found = self._leaks(self.truth, again, Change.CHANGED, rows[0])
            if found:
                return found, memory, cuts
            apart = differs(self.truth[rows], again[rows])
            for place, row in enumerate(np.asarray(rows)[apart.any(axis=1)].tolist()):
                alone = self._decided(changes.only(changed, row))
                found = self._leaks(self.truth, alone, Change.CHANGED, row)
                if found:
                    return [replace(found[0], count=int(apart.sum()))], memory, cuts
                memory = memory or self._older(changed, row)
                if memory is not None and place >= SUSPECTS:
                    break
        return [], memory, cuts

    def _older(self, changed: Panel, row: int) -> LongMemory | None:
        """Compare the decision at a row with one where bars before its window are as in `changed`.

        A window may not show it: what is remembered may not have happened yet.
        """
        window = from_window(self.panel, row, self.warmup)
        kept = window.present.copy()
        kept[row + 1 :] = True
        values = {
            name: np.where(kept, getattr(self.panel, name), getattr(changed, name))
            for name in VALUE_COLUMNS
        }
        again = self._decided(replace(self.panel, **values))
        apart = np.flatnonzero(differs(self.truth[row], again[row]))
        if not len(apart):
            return None
        column = int(apart[0])
        return self._memory([row]) or self._remembered(window, again, row, column, is_changed=True)

    def _leaks(
        self, truth: Matrix, again: Matrix, change: Change, cut: int | None = None, begin: int = 0
    ) -> list[Leak]:
        """Return the first weight up to `cut` that differs, if any; row 0 of both is `begin`."""
        end = None if cut is None else cut - begin + 1
        apart = np.argwhere(differs(truth[:end], again[:end]))
        if not len(apart):
            return []
        row, column = int(apart[0][0]), int(apart[0][1])
        return [
            Leak(
                change,
                self.panel.symbols[column],
                self.panel.ts[begin + row],
                weight_at(truth, row, column),
                weight_at(again, row, column),
                None if cut is None else self.panel.ts[cut],
                len(apart),
                "" if self.failure is None else f"{type(self.failure).__name__}: {self.failure}",
            )
        ]


def _listings(panel: Panel) -> list[int]:
    """Return the rows at which symbols have their first bar."""
    return sorted({int(row) for row in panel.present.argmax(axis=0)})
