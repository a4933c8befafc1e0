"""configs/universe.yaml: which symbols and timeframes are kept, and since when."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from penstock.core.errors import ConfigError, DataError
from penstock.core.instruments import spot_assets, spot_symbol
from penstock.core.series import Series, series_named
from penstock.core.timeframes import Timeframe
from penstock.data.policy import IngestPolicy
from penstock.settings.files import Frozen


class TimeframeHistory(Frozen):
    """From when on the bars of a timeframe are kept, and of which symbols."""

    start: date = Field(description="the first day, UTC")
    symbols: tuple[str, ...] = Field(
        (), description="the symbols; without any, all of the universe"
    )

    @field_validator("symbols")
    @classmethod
    def _well_formed(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return _checked(symbols)

    @property
    def start_at(self) -> datetime:
        """The midnight at which the first day begins."""
        return _midnight(self.start)


class SymbolLife(Frozen):
    """When a ticker stood for one instrument, where an operator has to say so."""

    symbol: str = Field(description="the ticker, as the venue writes it")
    since: date | None = Field(None, alias="from", description="the first day, UTC")
    until: date | None = Field(None, description="the last day, UTC, on which it was traded")
    formerly: str | None = Field(
        None, description="the ticker of the same coin before `from`, which may be the same"
    )
    units: float = Field(1.0, gt=0, description="how many units one unit of `formerly` became")

    @model_validator(mode="after")
    def _well_formed(self) -> Self:
        _checked((self.symbol, *([] if self.formerly in (None, self.symbol) else [self.formerly])))
        if self.formerly is not None and self.since is None:
            raise ValueError(f"{self.symbol} was {self.formerly} before: say 'from' which day on")
        if self.formerly is None and self.units != 1:
            raise ValueError(f"{self.symbol} has 'units': say what it was 'formerly'")
        if self.since and self.until and self.until < self.since:
            raise ValueError(f"{self.symbol} is traded until {self.until}, before {self.since}")
        return self


class Universe(Frozen):
    """The content of configs/universe.yaml."""

    quote: str = Field(description="the asset in which accounts keep their cash")
    entries: tuple[SymbolLife, ...] = Field(
        min_length=1, alias="symbols", description="the symbols that are kept"
    )
    timeframes: dict[Timeframe, TimeframeHistory] = Field(
        description="the timeframes that are kept"
    )
    ingest: IngestPolicy = Field(IngestPolicy(), description="how ingestion reads from the venue")

    @field_validator("entries", mode="before")
    @classmethod
    def _entries(cls, given: Any) -> Any:
        if not isinstance(given, list | tuple):
            return given
        return [{"symbol": each} if isinstance(each, str) else each for each in given]

    @model_validator(mode="after")
    def _apart(self) -> Self:
        _checked(self.symbols)
        for ticker in {entry.symbol for entry in self.entries}:
            lives = self._lives(ticker)
            for earlier, later in pairwise(lives):
                if earlier.until is None or later.since is None or later.since <= earlier.until:
                    raise ValueError(
                        f"{ticker} is listed twice: 'until' of the one must end before 'from' of "
                        "the other"
                    )
        by_name = {self._name(entry): entry for entry in self.entries}
        for entry in self.entries:
            before = by_name.get(entry.formerly or "")
            if before is None or before is entry or entry.since is None:
                continue
            if before.until is None or before.until >= entry.since:
                raise ValueError(
                    f"{entry.symbol} goes on from {entry.formerly} on {entry.since}, which is "
                    "listed as if it traded on: leave it out, or say 'until' which day before"
                )
        return self

    @property
    def symbols(self) -> tuple[str, ...]:
        """The names of all instruments, those that ended included."""
        return tuple(self._name(entry) for entry in self.entries)

    @cached_property
    def series(self) -> Mapping[str, Series]:
        """The series by name, with those that others go on with."""
        found: dict[str, Series] = {}
        for entry in self.entries:
            name, before = self._name(entry), None
            if entry.formerly is not None and entry.since is not None:
                before = entry.formerly
                last = entry.since - timedelta(days=1)
                if entry.formerly == entry.symbol:
                    before = _ended(entry.symbol, last)
                found.setdefault(
                    before, Series(before, entry.formerly, None, _midnight(entry.since))
                )
            found[name] = Series(
                name,
                entry.symbol,
                _midnight(entry.since) if entry.since else None,
                _midnight(entry.until + timedelta(days=1)) if entry.until else None,
                before,
                entry.units,
            )
        return found

    @property
    def listed(self) -> tuple[str, ...]:
        """The tickers of instruments that have not ended."""
        return tuple(entry.symbol for entry in self.entries if entry.until is None)

    def history(self, timeframe: Timeframe) -> TimeframeHistory:
        """Return what is kept of a timeframe; raise ConfigError where nothing is."""
        if timeframe not in self.timeframes:
            raise ConfigError(
                f"configs/universe.yaml keeps no {timeframe} bars: "
                f"it has {', '.join(self.timeframes)}; add it under 'timeframes'"
            )
        return self.timeframes[timeframe]

    def symbols_of(self, timeframe: Timeframe, at: datetime | None = None) -> tuple[str, ...]:
        """Return the names whose bars are kept in a timeframe; with `at` those that traded then.

        An instrument that ended before the history starts has none.
        """
        kept = self.history(timeframe)
        lives = [series_named(self.series, name) for name in kept.symbols or self.symbols]
        return tuple(
            life.name
            for life in lives
            if (life.ends is None or life.ends > kept.start_at)
            and (at is None or life.is_member(at))
        )

    def ingested(self, timeframe: Timeframe) -> tuple[str, ...]:
        """Return the names whose bars are read: also of series that others go on with."""
        names = list(self.symbols_of(timeframe))
        for name in names:
            before = self.series[name].formerly if name in self.series else None
            if before is not None and before not in names:
                names.append(before)
        return tuple(names)

    def policy_of(self, timeframe: Timeframe) -> IngestPolicy:
        """Return the ingestion policy with this timeframe's start of history."""
        return self.ingest.model_copy(update={"start": self.history(timeframe).start_at})

    def _lives(self, ticker: str) -> list[SymbolLife]:
        """Return the entries of a ticker, the earliest first."""
        own = [entry for entry in self.entries if entry.symbol == ticker]
        return sorted(own, key=lambda entry: entry.since or date.min)

    def _name(self, entry: SymbolLife) -> str:
        """Return the ticker for its last instrument, and for an earlier one the ticker with its
        last day.
        """
        if entry.until is None or entry is self._lives(entry.symbol)[-1]:
            return entry.symbol
        return _ended(entry.symbol, entry.until)


def _ended(ticker: str, last: date) -> str:
    """Return the name of the instrument that a ticker stood for up to a day."""
    base, quote = spot_assets(ticker)
    return spot_symbol(f"{base}@{last:%Y-%m-%d}", quote)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _checked(symbols: tuple[str, ...]) -> tuple[str, ...]:
    """Return the symbols; raise ValueError where one is malformed or listed twice."""
    for symbol in symbols:
        try:
            spot_assets(symbol)
        except DataError as error:
            raise ValueError(str(error)) from None
    if len(set(symbols)) != len(symbols):
        raise ValueError(
            f"a symbol is listed twice: {sorted({s for s in symbols if symbols.count(s) > 1})}"
        )
    return symbols
