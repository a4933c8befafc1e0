"""Search the strategies' parameters on a hashed snapshot, tracked in MLflow."""

from prefect import flow

from tasks.research import search_parameters


@flow(name="research-strategy", flow_run_name="research-{study}", log_prints=True)
def research_strategy(
    study: str = "daily", strategies: list[str] | None = None, trials: int | None = None
) -> str:
    """Snapshot the bars, search in sample, look once out of sample; return the MLflow run's id."""
    return search_parameters(study, strategies, trials)
