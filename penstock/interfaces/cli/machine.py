"""Commands for the machine: the demo, the local servers and their database, and what is wrong with
them.
"""

from pathlib import Path
from typing import Annotated

import typer

from penstock.interfaces.cli.terminal import opened_platform, out


def demo(
    candles: Annotated[
        Path | None,
        typer.Option(
            help="A folder of Parquet candle files to replay. Without it: the synthetic generator."
        ),
    ] = None,
    exchange: Annotated[
        str | None,
        typer.Option(
            help="Take daily and hourly candles from this venue (a ccxt name, for example kraken)."
        ),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=365, help="Daily rebalances to trade.")] = 30,
    trials: Annotated[
        int, typer.Option(min=50, help="Trials of the parameter search, over all strategies.")
    ] = 80,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget what earlier demos left and start over.")
    ] = False,
) -> None:
    """The whole line in two minutes: ingest, check, search, promote, trade 30 days, reconcile.

    Run it twice: the second run finds everything done and sends nothing.

    Example: `penstock demo --candles ~/candles --days 30`
    """
    from penstock.demo import run_demo

    run_demo(out, candles=candles, exchange=exchange, days=days, trials=trials, fresh=fresh)


def up(
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay attached and stop everything on Ctrl-C.")
    ] = False,
    prefect_port: Annotated[int, typer.Option(help="Port of the Prefect server.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow server.")] = 5000,
    practice_port: Annotated[int, typer.Option(help="Port of the practice exchange.")] = 8190,
) -> None:
    """Start the database, the Prefect and MLflow servers and a worker, deploy every flow, and print
    the addresses.

    Unless PENSTOCK_ENV says otherwise everything runs against the practice exchange on this
    machine.

    Example: `penstock up`, then `prefect deployment run ingest-bars/ingest-1d`
    """
    from penstock.pipeline.stack_commands import bring_up
    from penstock.stack import StackPorts

    bring_up(out, foreground, StackPorts(prefect_port, mlflow_port, practice_port))


def down() -> None:
    """Stop what `penstock up` started. The data stays."""
    from penstock.pipeline.stack_commands import take_down

    take_down(out)


def database_migrate() -> None:
    """Bring the database's schema up to date. Safe to run at any time, from any number of
    processes.

    Example: `PENSTOCK_DATABASE_URL=postgresql://me@db/penstock penstock db migrate`
    """
    with opened_platform() as platform:  # opening it migrates
        out.print(f"schema is up to date on {platform.database.describe()}")


def doctor() -> None:
    """Check every dependency and say how to mend what is wrong.

    Example: `penstock doctor`
    """
    from penstock.interfaces.cli.console import findings_view
    from penstock.pipeline.doctor import examine

    findings = examine()
    out.print(findings_view(findings))
    if any(not finding.ok for finding in findings):
        raise typer.Exit(1)
