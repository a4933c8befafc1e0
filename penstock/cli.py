"""The `penstock` command: every step of the pipeline from a terminal. Each command's help shows an example.

Decides how a step is called and how its outcome is shown; what the step does is for penstock.pipeline.
"""

import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from penstock import __version__
from penstock.core.errors import ConfigError, PenstockError
from penstock.core.timeframes import Timeframe
from penstock.stack import follow_running_stack

app = typer.Typer(
    name="penstock",
    help="From market data to orders, with gates between: ingest, research, promote, rebalance.\n\nStart with: penstock demo",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
database_app = typer.Typer(help="The database and its schema.", no_args_is_help=True)
exchange_app = typer.Typer(
    help="The practice exchange: a server that speaks Binance's spot wire on this machine.", no_args_is_help=True
)
app.add_typer(database_app, name="db")
app.add_typer(exchange_app, name="exchange")

out = Console()
err = Console(stderr=True)

TimeframeOption = Annotated[str, typer.Option("--timeframe", "-t", help="Bar length: 1m, 5m, 15m, 30m, 1h, 4h or 1d.")]
PortfolioOption = Annotated[str, typer.Option("--portfolio", "-p", help="A portfolio of configs/portfolio.yaml.")]
StudyOption = Annotated[str, typer.Option("--study", help="A study of configs/research.yaml.")]
SymbolsOption = Annotated[
    list[str] | None, typer.Option("--symbol", "-s", help="Only this symbol (repeat for more), like BTC/USDT.")
]


def main() -> None:
    """Run the command; a PenstockError becomes one sentence on stderr and exit code 1."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except PenstockError as error:
        err.print(f"[bold red]error:[/] {error}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        err.print("stopped; what was committed stays, and running the command again goes on from there")
        sys.exit(130)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        out.print(f"penstock {__version__}")
        raise typer.Exit
    follow_running_stack()


@app.command()
def demo(
    candles: Annotated[
        Path | None, typer.Option(help="A folder of Parquet candle files to replay. Without it: the synthetic generator.")
    ] = None,
    exchange: Annotated[
        str | None, typer.Option(help="Take daily and hourly candles from this venue (a ccxt name, for example kraken).")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=365, help="Daily rebalances to trade.")] = 30,
    trials: Annotated[int, typer.Option(min=50, help="Trials of the parameter search, over all strategies.")] = 80,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what earlier demos left and start over.")] = False,
) -> None:
    """The whole line in two minutes: ingest, check, search, promote, trade 30 days, reconcile.

    Run it twice: the second run finds everything done and sends nothing.

    Example: `penstock demo --candles ~/candles --days 30`
    """
    from penstock.demo import run_demo

    run_demo(out, candles=candles, exchange=exchange, days=days, trials=trials, fresh=fresh)


@app.command()
def up(
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay attached and stop everything on Ctrl-C.")] = False,
    prefect_port: Annotated[int, typer.Option(help="Port of the Prefect server.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow server.")] = 5000,
    practice_port: Annotated[int, typer.Option(help="Port of the practice exchange.")] = 8190,
) -> None:
    """Start the database, the Prefect and MLflow servers and a worker, deploy every flow, and print the addresses.

    Unless PENSTOCK_ENV says otherwise everything runs against the practice exchange on this machine.

    Example: `penstock up`, then `prefect deployment run ingest-bars/ingest-1d`
    """
    from penstock.pipeline.stack_commands import bring_up
    from penstock.stack import StackPorts

    bring_up(out, foreground, StackPorts(prefect_port, mlflow_port, practice_port))


@app.command()
def down() -> None:
    """Stop what `penstock up` started. The data stays."""
    from penstock.pipeline.stack_commands import take_down

    take_down(out)


@database_app.command("migrate")
def database_migrate() -> None:
    """Bring the database's schema up to date. Safe to run at any time, from any number of processes.

    Example: `PENSTOCK_DATABASE_URL=postgresql://me@db/penstock penstock db migrate`
    """
    from penstock.wiring import open_platform

    with open_platform() as platform:
        platform.database  # noqa: B018 - opening it migrates
        out.print(f"schema is up to date on {platform.database.describe()}")


@exchange_app.command("serve")
def exchange_serve(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8190,
    candles: Annotated[
        Path | None, typer.Option(help="A folder of Parquet candle files; without it: synthetic candles.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="Venue time at the start, like 2024-01-01T00:00. Default: now.")] = None,
    speed: Annotated[
        float, typer.Option(help="Venue seconds in a real second; 0 is a clock that only steps on request.")
    ] = 1.0,
    cash: Annotated[float, typer.Option(help="Quote balance of the account whose keys are in the environment.")] = 100_000,
) -> None:
    """Serve the practice exchange until interrupted. ccxt trades on it unmodified.

    The accounts' keys are those that Penstock made in its home folder (practice-keys.json).

    Example: `penstock exchange serve --candles ~/candles --start 2024-01-01T00:00 --speed 60`
    """
    from penstock.pipeline.stack_commands import serve_practice

    serve_practice(out, port, candles, parse_instant(start) if start else None, speed, cash)


@app.command()
def ingest(timeframe: TimeframeOption = "1d", symbol: SymbolsOption = None) -> None:
    """Bring the universe's bars up to date: backfill and increment are the same command.

    Example: `penstock ingest -t 1h -s BTC/USDT -s ETH/USDT`
    """
    from penstock.console import bars_progress, table_of
    from penstock.pipeline.ingest import ingest_timeframe
    from penstock.wiring import open_platform

    with open_platform() as platform, bars_progress(err) as progress:
        outcome = ingest_timeframe(platform, Timeframe.parse(timeframe), symbol, on_progress=progress)
    out.print(table_of(outcome.table(), outcome.summary()))
    out.print(f"checks: {outcome.data_docs}")
    if outcome.failed:
        raise typer.Exit(1)


@app.command()
def research(
    study: StudyOption = "daily",
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials for each strategy; default from configs/research.yaml.")
    ] = None,
    strategy: Annotated[list[str] | None, typer.Option(help="Only this strategy (repeat for more).")] = None,
) -> None:
    """Snapshot the bars and search the strategies' parameters, tracked in MLflow.

    Example: `penstock research --strategy momentum --trials 200`
    """
    from penstock.console import table_of, trials_progress
    from penstock.pipeline.research import planned_trials, run_research
    from penstock.wiring import open_platform

    with open_platform() as platform, trials_progress(err, planned_trials(platform, study, strategy, trials)) as progress:
        outcome = run_research(platform, study, strategies=strategy, trials=trials, on_trial=progress)
    out.print(table_of(outcome.table(), "Search"))
    out.print(outcome.summary())


@app.command()
def promote(
    study: StudyOption = "daily",
    run: Annotated[str | None, typer.Option(help="MLflow run of the search; default: the study's newest.")] = None,
) -> None:
    """Judge the best candidate of a search; passing moves the registry aliases.

    Example: `penstock promote --run 3f2c...`
    """
    from penstock.console import table_of
    from penstock.pipeline.promote import promote_candidate
    from penstock.wiring import open_platform

    with open_platform() as platform:
        outcome = promote_candidate(platform, study, run)
    out.print(table_of(outcome.table(), "Verdicts"))
    out.print(outcome.summary())


@app.command()
def rollback(model: Annotated[str, typer.Argument(help="A registered model.")] = "daily-portfolio") -> None:
    """Give the champion alias back to the version that held it before.

    Example: `penstock rollback daily-portfolio`
    """
    from penstock.pipeline.promote import roll_back
    from penstock.wiring import open_platform

    with open_platform() as platform:
        was, now = roll_back(platform, model)
    out.print(f"champion was {was}, is {now} again")


@app.command()
def rebalance(
    portfolio: PortfolioOption = "daily",
    slot: Annotated[str | None, typer.Option(help="Bar close to act on, like 2026-01-31T00:00. Default: the newest.")] = None,
) -> None:
    """Carry the champion's target weights to the account, for one slot. A slot that is done is not done again.

    Example: `penstock rebalance --slot 2026-01-31T00:00`
    """
    from penstock.console import table_of
    from penstock.pipeline.rebalance import rebalance_slot, rows_table
    from penstock.wiring import open_platform

    with open_platform() as platform:
        report = rebalance_slot(platform, portfolio, parse_instant(slot) if slot else None)
    if report.rows():
        out.print(table_of(rows_table(report), "Orders"))
    out.print(report.summary())


@app.command()
def trade(
    portfolio: PortfolioOption = "minute",
    slots: Annotated[int | None, typer.Option(min=1, help="Stop after this many slots. Default: go on until stopped.")] = None,
) -> None:
    """The minute service: at every bar's close ingest it, decide, place. Each slot is a flow run in the Prefect UI.

    Example: `penstock trade --slots 10`
    """
    import asyncio

    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")  # a line a slot is enough for a terminal
    from flows.trade_minutes import trade_minutes

    asyncio.run(trade_minutes(portfolio, slots))


@app.command()
def status() -> None:
    """What is stored, what trades, what is open, and what is locked or halted.

    Example: `penstock status`
    """
    from penstock.console import status_view
    from penstock.pipeline.status import read_status
    from penstock.wiring import open_platform

    with open_platform() as platform:
        out.print(status_view(read_status(platform)))


@app.command()
def slots(
    portfolio: PortfolioOption = "daily",
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 30,
) -> None:
    """What became of each slot: done, skipped or failed, and why.

    Example: `penstock slots --portfolio minute --limit 100`
    """
    from penstock.console import table_of
    from penstock.pipeline.slots import slots_table
    from penstock.wiring import open_platform

    with open_platform() as platform:
        out.print(table_of(slots_table(platform, portfolio, limit), f"Slots of {portfolio}, newest first"))


@app.command()
def halt(
    reason: Annotated[str, typer.Option(help="Why; kept with the halt.")],
    portfolio: PortfolioOption = "daily",
    reduce_only: Annotated[bool, typer.Option("--reduce-only", help="Still allow orders that make positions smaller.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Every account, not only this portfolio's.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Also cancel the account's working orders.")] = False,
    flatten: Annotated[bool, typer.Option("--flatten", help="Also cancel, and sell every position.")] = False,
) -> None:
    """The kill switch: no new orders from now on, even in the middle of a plan.

    Example: `penstock halt --reason "venue announces maintenance"`
    """
    from penstock.pipeline.halts import halt_trading
    from penstock.wiring import open_platform

    with open_platform() as platform:
        done = halt_trading(platform, portfolio, reason, reduce_only, everything, cancel, flatten)
    out.print(done.sentence)
    if cancel or flatten:
        out.print(f"cancelled {len(done.cancelled)} working orders")
    if done.flattened is not None:
        out.print(done.flattened.summary())
    if done.failure:
        err.print(f"not finished: {done.failure}")
        raise typer.Exit(1)


@app.command()
def resume(
    reason: Annotated[str, typer.Option(help="Why it is safe again; kept.")],
    portfolio: PortfolioOption = "daily",
    everything: Annotated[bool, typer.Option("--all", help="Lift the halt on every account.")] = False,
) -> None:
    """Allow trading again after a halt.

    Example: `penstock resume --reason "maintenance is over"`
    """
    from penstock.pipeline.halts import resume_trading
    from penstock.wiring import open_platform

    with open_platform() as platform:
        out.print(resume_trading(platform, portfolio, reason, everything=everything))


@app.command()
def breaks(
    portfolio: PortfolioOption = "daily",
    history: Annotated[bool, typer.Option("--history", help="Closed ones too, with when and why.")] = False,
) -> None:
    """The differences between ledger and venue that lock an instrument.

    Example: `penstock breaks --history`
    """
    from penstock.console import table_of
    from penstock.pipeline.breaks import list_breaks
    from penstock.wiring import open_platform

    with open_platform() as platform:
        out.print(table_of(list_breaks(platform, portfolio, history), "Breaks", "none: ledger and venue agree"))


@app.command("accept-break")
def accept_break(
    subject: Annotated[str, typer.Argument(help="What is locked: a symbol or an asset, as `penstock breaks` names it.")],
    reason: Annotated[str, typer.Option(help="Why the venue is right; kept with the acceptance.")],
    portfolio: PortfolioOption = "daily",
) -> None:
    """Let the ledger take over what the venue says of a locked instrument, and unlock it.

    Example: `penstock accept-break USDT --reason "topped up by the owner"`
    """
    from penstock.pipeline.breaks import accept
    from penstock.wiring import open_platform

    with open_platform() as platform:
        out.print(accept(platform, portfolio, subject, reason).summary())


@app.command()
def reconcile(portfolio: PortfolioOption = "daily") -> None:
    """Compare the ledger with the venue now; a difference locks its instrument.

    Example: `penstock reconcile`
    """
    from penstock.console import table_of
    from penstock.pipeline.reconcile import reconcile_account
    from penstock.wiring import open_platform

    with open_platform() as platform:
        outcome = reconcile_account(platform, portfolio)
    if outcome.found.breaks:
        out.print(table_of(outcome.table(), "Breaks"))
    out.print(outcome.summary())


@app.command()
def report(portfolio: PortfolioOption = "daily") -> None:
    """Write the account's HTML report: equity, live against backtest, positions, orders, breaks.

    Example: `penstock report`
    """
    from penstock.console import table_of
    from penstock.pipeline.report import report_account
    from penstock.wiring import open_platform

    with open_platform() as platform:
        outcome = report_account(platform, portfolio)
    out.print(table_of(outcome.table(), f"Account {outcome.account}"))
    out.print(outcome.summary(), soft_wrap=True)


@app.command()
def doctor() -> None:
    """Check every dependency and say how to mend what is wrong.

    Example: `penstock doctor`
    """
    from penstock.console import findings_view
    from penstock.pipeline.doctor import examine

    findings = examine()
    out.print(findings_view(findings))
    if any(not finding.ok for finding in findings):
        raise typer.Exit(1)


def parse_instant(text: str) -> datetime:
    """Return the instant written as ISO 8601, UTC where it names no zone; raise ConfigError showing the form."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"'{text}' is not a time: write it like 2026-01-31T00:00 (UTC)") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


ledger_app = typer.Typer(help="The ledger: proved against its own events, and shown as of any time.", no_args_is_help=True)
app.add_typer(ledger_app, name="ledger")


@ledger_app.command("rebuild")
def ledger_rebuild(
    check: Annotated[
        bool, typer.Option("--check", help="Only compare; change nothing. Exit code 1 where they differ.")
    ] = False,
) -> None:
    """Rebuild orders and positions from the append-only events, fills and adjustments.

    Example: `penstock ledger rebuild --check`
    """
    from penstock.pipeline.ledger import rebuild_ledger, rebuild_lines
    from penstock.wiring import open_platform

    with open_platform() as platform:
        result = rebuild_ledger(platform, check=check)
    out.print("\n".join(rebuild_lines(result)), highlight=False, markup=False, soft_wrap=True)
    if result.different and not result.replaced:
        raise typer.Exit(1)


@ledger_app.command("show")
def ledger_show(
    at: Annotated[str | None, typer.Option(help="As of this time (UTC); without it: now.")] = None,
    portfolio: PortfolioOption = "daily",
) -> None:
    """An account as it was at any time: orders, positions, profit and loss by strategy, and days.

    Example: `penstock ledger show --at 2026-01-31T00:05`
    """
    from penstock.console import table_of
    from penstock.pipeline.ledger import show_ledger
    from penstock.wiring import open_platform

    with open_platform() as platform:
        view = show_ledger(platform, portfolio, parse_instant(at) if at else platform.clock.now())
    out.print(f"{view.account} as of {view.at:%Y-%m-%d %H:%M:%S} UTC")
    for title, frame in view.tables.items():
        out.print(table_of(frame, title))
