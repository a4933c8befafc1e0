"""Tasks that search and promote strategies. MLflow, Optuna and the kernel are imported when a task
runs.
"""

from prefect import task
from prefect.cache_policies import NO_CACHE

from penstock.pipeline import promote, research
from tasks.artifacts import publish_table, publish_text
from tasks.platform import worker_actor, worker_platform


@task(task_run_name="search-{study}", cache_policy=NO_CACHE, timeout_seconds=6 * 3600)
def search_parameters(study: str, strategies: list[str] | None, trials: int | None) -> str:
    """Snapshot, search and track; return what was found in one sentence."""
    outcome = research.run_research(
        worker_platform(), worker_actor(), study, strategies=strategies, trials=trials
    )
    publish_table(
        f"search-{study}",
        outcome.result.figures_table(),
        "The chosen candidate, in sample",
    )
    return outcome.summary()


@task(task_run_name="gate-{study}", cache_policy=NO_CACHE, timeout_seconds=3600)
def judge_candidate(study: str, run_id: str | None) -> str:
    """Register and judge the run's candidate and keep every verdict; return the decision in one
    sentence.
    """
    outcome = promote.promote_candidate(worker_platform(), worker_actor(), study, run_id)
    verdicts = outcome.promotion.gate.table()
    publish_table(f"verdicts-{study}", verdicts, f"Verdicts on {outcome.version.label}")
    publish_text(f"promotion-{study}", outcome.summary(), "What the gate decided")
    return outcome.summary()
