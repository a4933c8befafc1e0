"""Commands for the machine: the demo, the local servers and their database, and what is wrong with
them.
"""

from pathlib import Path
from typing import Annotated

import typer

from penstock.core.actors import Actor, Channel
from penstock.interfaces.cli.terminal import opened_platform, operator, out, say, settings


def demo(
    candles: Annotated[
        Path | None,
        typer.Option(
            help="A folder of Parquet candle files to replay. Without it: made-up candles."
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
    """The whole line: ingest, check, search, promote, trade 30 days, reconcile.

    It takes about half a minute on an idle machine. Run it twice: the second run finds
    everything done and sends nothing.

    Example: `penstock demo --candles ~/candles --days 30`
    """
    from penstock.demo import DemoRequest, run_demo
    from penstock.interfaces.cli.demo_view import DemoView, show_result

    actor = Actor(operator().name, Channel.DEMO)
    request = DemoRequest(candles, exchange, days, trials, fresh)
    with DemoView(out) as view:
        result = run_demo(settings(), actor, request, view)
    show_result(out, result)


def up(
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay attached and stop everything on Ctrl-C.")
    ] = False,
    prefect_port: Annotated[int, typer.Option(help="Port of the Prefect server.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow server.")] = 5000,
    practice_port: Annotated[int, typer.Option(help="Port of the practice exchange.")] = 8190,
) -> None:
    """Start the database, the Prefect and MLflow servers and a worker, and deploy every flow. Print
    each part's address as it comes up, and then how to log in.

    Unless PENSTOCK_ENV says otherwise everything runs against the practice exchange on this
    machine.

    Example: `penstock up`, then the commands that it prints
    """
    from penstock.interfaces.cli.console import stack_commands, stack_logins, stack_view
    from penstock.interfaces.cli.remedies import replaced_lines, stack_lines
    from penstock.interfaces.cli.stack_progress import StackProgress
    from penstock.pipeline.local_stack import RunningStack, run_stack, start_stack
    from penstock.pipeline.stack_health import stack_health
    from penstock.stack import StackPorts, noted_stack

    def show(ready: RunningStack) -> None:
        for line in replaced_lines(ready):
            say(line)
        if ready.was_running:
            out.print(stack_view(ready))
        else:
            say(f"Penstock is up. Its logs are in {ready.home / 'logs'}")
        for line in [*stack_logins(ready), *stack_commands(ready)]:
            say(line)

    ports = StackPorts(prefect_port, mlflow_port, practice_port)
    chosen = settings(default_env="practice")
    progress = StackProgress(chosen.home, say)
    if foreground:
        stack = run_stack(
            chosen, operator(), ports, show, lambda *_: progress(noted_stack(chosen.home))
        )
    else:
        with out.status("starting"):
            stack = start_stack(chosen, operator(), ports, progress)
    if stack.was_running:
        out.print("already running:")
        for line in stack_lines(stack_health(chosen, operator())):
            say(line)
    if stack.was_running or not foreground:
        show(stack)


def down() -> None:
    """Stop what `penstock up` started. The data stays.

    Example: `penstock down`
    """
    from penstock.interfaces.cli.remedies import stopped_lines
    from penstock.pipeline.local_stack import stop_stack

    with out.status("stopping the worker, the servers and the database ..."):
        stopped = stop_stack(settings(default_env="practice"), operator())
    for sentence in stopped_lines(stopped):
        say(sentence)


def database_migrate() -> None:
    """Bring the database's schema up to date. Safe to run at any time, from any number of
    processes.

    Example: `PENSTOCK_DATABASE_URL=postgresql://me@db/penstock penstock db migrate`
    """
    with opened_platform() as platform:  # opening it migrates
        out.print(f"schema is up to date on {platform.open_database()}")


def doctor() -> None:
    """Check every dependency and say how to mend what is wrong.

    Example: `penstock doctor`
    """
    from penstock.interfaces.cli.console import checks_view
    from penstock.pipeline.doctor import examine

    checks = examine(settings(), operator())
    out.print(checks_view(checks))
    if any(not check.ok for check in checks):
        raise typer.Exit(1)
