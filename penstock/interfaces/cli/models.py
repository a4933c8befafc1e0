"""Commands on the way from bars to a champion: ingest, research, promote, and back."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.core.timeframes import Timeframe
from penstock.interfaces.cli.terminal import (
    PortfolioOption,
    StudyOption,
    SymbolsOption,
    TimeframeOption,
    err,
    opened_platform,
    operator,
    out,
    say,
)


def ingest(timeframe: TimeframeOption = "1d", symbol: SymbolsOption = None) -> None:
    """Bring the universe's bars up to date: backfill and increment are the same command.

    Example: `penstock ingest -t 1h -s BTC/USDT -s ETH/USDT`
    """
    from penstock.data.ingestion import report_frame
    from penstock.interfaces.cli.console import bars_progress, table_of
    from penstock.pipeline.ingest import ingest_timeframe

    with opened_platform() as platform, bars_progress(err) as progress:
        outcome = ingest_timeframe(
            platform, operator(), Timeframe.parse(timeframe), symbol, on_progress=progress
        )
    frame = report_frame(outcome.reports)
    spare = ("seconds", "unchanged", "revised")
    out.print(table_of(frame, outcome.summary(), spare=spare))
    out.print(f"checks: {outcome.data_docs}")
    if outcome.failed:
        raise typer.Exit(1)


def research(
    study: StudyOption = "daily",
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="Trials for each strategy; default from configs/research.yaml."),
    ] = None,
    strategy: Annotated[
        list[str] | None, typer.Option(help="Only this strategy (repeat for more).")
    ] = None,
    dashboard: Annotated[
        Path | None,
        typer.Option(help="Copy the trials into this new file, for optuna-dashboard FILE."),
    ] = None,
) -> None:
    """Snapshot the bars and search the strategies' parameters in sample, tracked in MLflow.

    An interrupted search goes on where it stopped.

    Example: `penstock research --strategy momentum --trials 200`
    """
    from penstock.interfaces.cli.console import table_of, trials_progress
    from penstock.pipeline.research import planned_trials, run_research

    with (
        opened_platform() as platform,
        trials_progress(
            err, planned_trials(platform, operator(), study, strategy, trials)
        ) as progress,
    ):
        outcome = run_research(
            platform,
            operator(),
            study,
            strategies=strategy,
            trials=trials,
            on_trial=progress,
            on_stage=progress.stage,
            on_evaluation=progress.evaluation,
            dashboard=dashboard,
        )
    out.print(table_of(outcome.result.figures_table(), "Search"))
    out.print(outcome.summary(), style="bold red" if outcome.faults else None)


def journal(
    last: Annotated[int, typer.Option(min=1, help="How many looks are shown.")] = 20,
) -> None:
    """Show the newest looks at bars: who tried how much on which bars, and the best figures.

    Example: `penstock journal --last 50`
    """
    from penstock.interfaces.cli.console import table_of
    from penstock.monitoring.look_tables import looks_table
    from penstock.pipeline.research import list_looks

    with opened_platform() as platform:
        looks = list_looks(platform, operator(), last)
    out.print(table_of(looks_table(looks), "Research journal, newest first"))


def promote(
    study: StudyOption = "daily",
    run: Annotated[
        str | None, typer.Option(help="MLflow run of the search; default: the study's newest.")
    ] = None,
) -> None:
    """Judge the best candidate of a search; passing moves the registry aliases.

    Example: `penstock promote --run 3f2c...`
    """
    from penstock.interfaces.cli.console import table_of
    from penstock.pipeline.promote import promote_candidate

    with (
        opened_platform() as platform,
        err.status("judging the candidate: reproduction, leakage, rehearsal, comparison"),
    ):
        outcome = promote_candidate(platform, operator(), study, run)
    out.print(table_of(outcome.promotion.gate.table(), "Verdicts"))
    out.print(outcome.summary())


def rollback(
    model: Annotated[str, typer.Argument(help="A registered model.")] = "daily-portfolio",
) -> None:
    """Give the champion alias back to the version that held it before.

    Example: `penstock rollback daily-portfolio`
    """
    from penstock.pipeline.promote import roll_back

    with opened_platform() as platform:
        done = roll_back(platform, operator(), model)
    out.print(f"champion was {done.was}, is {done.now} again")


def costs(
    portfolio: PortfolioOption = "daily",
    orders: Annotated[int, typer.Option(min=1, help="How many, the newest.")] = 2_000,
) -> None:
    """What the account's own orders cost, and what of it may go into configs/costs.yaml.

    Example: `penstock costs --portfolio minute --orders 500`
    """
    from penstock.interfaces.cli.console import table_of
    from penstock.interfaces.cli.tables import costs_lines, costs_table
    from penstock.pipeline.trading_costs import measure_account_costs

    with opened_platform() as platform:
        found = measure_account_costs(platform, operator(), portfolio, orders)
    out.print(table_of(costs_table(found.measured), f"Costs of {found.account}, in basis points"))
    for line in costs_lines(found):
        say(line)
