"""How ingestion reads from a venue: where history starts, page sizes and retries. Values only."""

from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from penstock.core.timeframes import Timeframe


class IngestPolicy(BaseModel):
    """The policy of one ingestion run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: AwareDatetime = Field(
        datetime(2017, 1, 1, tzinfo=UTC),
        description="where history begins for a symbol that has no watermark yet",
    )
    reread: bool = Field(
        False,
        description="begin at `start` even where there is a watermark, to see old bars revised",
    )
    page_bars: int = Field(1000, ge=1, description="bars asked for in one request")
    chunk_rows: int = Field(
        50_000, ge=10, description="rows checked and committed together, with the watermark"
    )
    overlap_bars: int = Field(
        3, ge=0, description="stored bars read again, to see late revisions; the newest always is"
    )
    max_gap_requests: int = Field(
        20, ge=0, description="requests for bars that were missing, per chunk"
    )
    attempts: int = Field(
        6, ge=1, description="tries of one request while the venue is unavailable"
    )
    backoff_seconds: float = Field(
        0.5, gt=0, description="wait after the first failed try; it doubles with each"
    )
    max_wait_seconds: float = Field(
        60.0, gt=0, description="longest wait; a venue that asks for a longer one ends the symbol"
    )
    workers: int = Field(4, ge=1, description="symbols ingested at the same time")

    def first_open(self, timeframe: Timeframe, watermark: datetime | None) -> datetime:
        """Return the open time of the first bar to ask for.

        Without a watermark that is `start`, on the grid. With one it is the overlap before it.
        """
        start = timeframe.floor(self.start + timeframe.duration - timedelta(microseconds=1))
        if watermark is None or self.reread:
            return start
        return max(start, self.resume_open(timeframe, watermark))

    def resume_open(self, timeframe: Timeframe, watermark: datetime) -> datetime:
        """Return the open time of the oldest bar to read again at `watermark`."""
        return watermark - max(0, self.overlap_bars - 1) * timeframe.duration
