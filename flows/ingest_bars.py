"""Bring the universe's bars up to date: from each symbol's watermark to its newest closed bar."""

from typing import Any

from prefect import flow, unmapped
from prefect.futures import wait
from prefect.task_runners import ThreadPoolTaskRunner

from penstock.core.errors import DataError
from tasks.ingestion import ingest_symbol, publish_ingest, symbols_to_ingest

#: Symbols ingested at the same time: enough to hide the venue's latency, few enough for its rate limit.
MAX_SYMBOLS_AT_ONCE = 4
_RUNNER: Any = ThreadPoolTaskRunner(max_workers=MAX_SYMBOLS_AT_ONCE)  # Any: its type parameter does not fit `flow` in 3.8.8


@flow(
    name="ingest-bars",
    flow_run_name="ingest-{timeframe}",
    task_runner=_RUNNER,
    log_prints=True,
)
def ingest_bars(timeframe: str = "1d", symbols: list[str] | None = None) -> None:
    """Ingest, check and store every symbol; one that fails stops itself, not the run."""
    names = symbols_to_ingest(timeframe, symbols)
    futures = ingest_symbol.map(unmapped(timeframe), names)
    wait(futures)
    outcomes = [future.result() for future in futures if future.state.is_completed()]
    unreachable = [name for name, future in zip(names, futures, strict=True) if not future.state.is_completed()]
    print(publish_ingest(timeframe, outcomes, unreachable).summary())
    if unreachable:
        raise DataError(
            f"{len(unreachable)} of {len(names)} symbols could not be ingested: {', '.join(unreachable)}; see their tasks"
        )
