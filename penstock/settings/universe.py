"""configs/universe.yaml: which symbols and timeframes are kept, and since when."""

from datetime import UTC, date, datetime

from pydantic import Field, field_validator

from penstock.core.errors import ConfigError, DataError
from penstock.core.instruments import spot_assets
from penstock.core.timeframes import Timeframe
from penstock.data.policy import IngestPolicy
from penstock.settings.files import Frozen


class TimeframeHistory(Frozen):
    """From when on a timeframe is kept, and for which symbols (all of the universe where none are
    named).
    """

    start: date
    symbols: tuple[str, ...] = ()

    @property
    def start_at(self) -> datetime:
        return datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC)


class Universe(Frozen):
    """configs/universe.yaml"""

    quote: str
    symbols: tuple[str, ...] = Field(min_length=1)
    timeframes: dict[Timeframe, TimeframeHistory]
    ingest: IngestPolicy = IngestPolicy()

    @field_validator("symbols")
    @classmethod
    def _well_formed(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
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

    def history(self, timeframe: Timeframe) -> TimeframeHistory:
        """Return what is kept of a timeframe; raise ConfigError where the universe keeps none of
        it.
        """
        if timeframe not in self.timeframes:
            raise ConfigError(
                f"configs/universe.yaml keeps no {timeframe} bars: it has "
                f"{', '.join(self.timeframes)}; add it under 'timeframes'"
            )
        return self.timeframes[timeframe]

    def symbols_of(self, timeframe: Timeframe) -> tuple[str, ...]:
        return self.history(timeframe).symbols or self.symbols

    def policy_of(self, timeframe: Timeframe) -> IngestPolicy:
        """Return the ingestion policy with this timeframe's start of history."""
        return self.ingest.model_copy(update={"start": self.history(timeframe).start_at})
