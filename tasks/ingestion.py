"""Tasks that bring bars in."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from penstock.core.timeframes import Timeframe
from penstock.data.ingestion import IngestReport, report_frame
from penstock.pipeline import ingest
from tasks.artifacts import publish_file, publish_table
from tasks.platform import worker_actor, worker_platform


@task(cache_policy=NO_CACHE)
def symbols_to_ingest(timeframe: str, symbols: list[str] | None) -> list[str]:
    """Return the symbols that the universe keeps in this timeframe (or the given ones, checked
    against the venue).
    """
    return ingest.symbols_to_ingest(
        worker_platform(), worker_actor(), Timeframe.parse(timeframe), symbols
    )


def symbols_at_once() -> int:
    """Return `ingest.workers` of configs/universe.yaml: no task, for it sizes the runner that the
    tasks need.
    """
    return worker_platform().settings.universe.ingest.workers


@task(
    task_run_name="ingest-{timeframe}-{symbol}",
    cache_policy=NO_CACHE,
    timeout_seconds=3600,
)
def ingest_symbol(timeframe: str, symbol: str) -> IngestReport:
    """Bring one symbol up to date; a failed check is an outcome, not an exception.

    The task is not retried: `ingest.attempts` of configs/universe.yaml says how often a request is
    made.
    """
    return ingest.ingest_one(worker_platform(), worker_actor(), Timeframe.parse(timeframe), symbol)


@task(cache_policy=NO_CACHE)
def publish_ingest(
    timeframe: str, outcomes: list[IngestReport], unreachable: list[str]
) -> ingest.IngestOutcome:
    """Keep the run's table and Data Docs as artifacts, and alert about symbols that failed or could
    not be reached.
    """
    platform = worker_platform()
    failed = [
        IngestReport(
            platform.exchange_name,
            symbol,
            Timeframe.parse(timeframe),
            failure="no answer from venue or store",
        )
        for symbol in unreachable
    ]
    outcome = ingest.conclude_ingest(
        platform, worker_actor(), Timeframe.parse(timeframe), [*outcomes, *failed]
    )
    table = report_frame(outcome.reports)
    publish_table(f"ingest-{timeframe}", table, f"What came in: {timeframe} bars")
    if outcome.data_docs is not None:
        publish_file(
            f"data-docs-{timeframe}", outcome.data_docs, "Great Expectations Data Docs of this run"
        )
    return outcome
