"""Bring the universe's bars up to date: from each symbol's watermark to its newest closed bar."""

from typing import Any

from prefect import flow, unmapped
from prefect.client.schemas.objects import State
from prefect.futures import wait
from prefect.task_runners import ThreadPoolTaskRunner

from tasks.ingestion import ingest_symbol, publish_ingest, symbols_at_once, symbols_to_ingest
from tasks.states import ended


@flow(
    name="ingest-bars",
    flow_run_name="ingest-{timeframe}",
    log_prints=True,
)
def ingest_bars(timeframe: str = "1d", symbols: list[str] | None = None) -> State[None]:
    """Ingest, check and store every symbol; one that fails stops itself, not the run."""
    names = symbols_to_ingest(timeframe, symbols)
    # Any: Prefect 3.8.8 types its futures too deep
    at_once: Any = ThreadPoolTaskRunner(max_workers=symbols_at_once())
    with at_once as runner:
        futures = runner.map(ingest_symbol, {"timeframe": unmapped(timeframe), "symbol": names})
        wait(futures)
    outcomes = [future.result() for future in futures if future.state.is_completed()]
    unreachable = [
        name for name, future in zip(names, futures, strict=True) if not future.state.is_completed()
    ]
    return ended(
        publish_ingest(timeframe, outcomes, unreachable).summary(), failed=bool(unreachable)
    )
