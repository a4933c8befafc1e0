"""Judge the best candidate of a search and move the registry's aliases."""

from prefect import flow
from prefect.client.schemas.objects import State

from tasks.research import judge_candidate
from tasks.states import ended


@flow(name="promote-strategy", flow_run_name="promote-{study}", log_prints=True)
def promote_strategy(study: str = "daily", run_id: str | None = None) -> State[None]:
    """Register the candidate of `run_id` (default: the study's newest search) and let the gate
    decide.
    """
    return ended(judge_candidate(study, run_id))
