"""configs/universe.yaml: which symbols and timeframes are kept, and since when."""

from datetime import UTC, date, datetime

from pydantic import Field, field_validator

from penstock.core.errors import ConfigError, DataError
from penstock.core.instruments import spot_assets
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
        return datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC)


class Universe(Frozen):
    """The content of configs/universe.yaml."""

    quote: str = Field(description="the asset in which accounts keep their cash")
    symbols: tuple[str, ...] = Field(min_length=1, description="the symbols that are kept")
    timeframes: dict[Timeframe, TimeframeHistory] = Field(
        description="the timeframes that are kept"
    )
    ingest: IngestPolicy = Field(IngestPolicy(), description="how ingestion reads from the venue")

    @field_validator("symbols")
    @classmethod
    def _well_formed(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return _checked(symbols)

    def history(self, timeframe: Timeframe) -> TimeframeHistory:
        """Return what is kept of a timeframe; raise ConfigError where nothing is."""
        if timeframe not in self.timeframes:
            raise ConfigError(
                f"configs/universe.yaml keeps no {timeframe} bars: "
                f"it has {', '.join(self.timeframes)}; add it under 'timeframes'"
            )
        return self.timeframes[timeframe]

    def symbols_of(self, timeframe: Timeframe) -> tuple[str, ...]:
        """Return the symbols whose bars are kept in a timeframe."""
        return self.history(timeframe).symbols or self.symbols

    def policy_of(self, timeframe: Timeframe) -> IngestPolicy:
        """Return the ingestion policy with this timeframe's start of history."""
        return self.ingest.model_copy(update={"start": self.history(timeframe).start_at})


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
