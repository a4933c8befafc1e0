"""Search the strategies' parameters on a hashed snapshot, tracked in MLflow."""

from prefect import flow
from prefect.client.schemas.objects import State

from tasks.research import search_parameters
from tasks.states import ended


@flow(name="research-strategy", flow_run_name="research-{study}", log_prints=True)
def research_strategy(
    study: str = "daily", strategies: list[str] | None = None, trials: int | None = None
) -> State[None]:
    """Snapshot the bars and search in sample. The state's message has the MLflow run's id."""
    return ended(search_parameters(study, strategies, trials))
