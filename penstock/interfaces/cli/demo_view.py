"""The demo in a terminal: events as lines and progress bars, its result as tables and commands."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from shlex import quote
from types import TracebackType
from typing import Self

from rich.console import Console

from penstock.data.ingestion import IngestProgress, OnProgress
from penstock.demo import DemoEvent, DemoResult
from penstock.demo.events import (
    CandlesWanted,
    CutDone,
    DemoForgotten,
    IngestBegan,
    SearchBegan,
    StepBegan,
    StepEnded,
    TradingBegan,
    TrialDone,
)
from penstock.demo.summary import project_sentence, summary_table
from penstock.interfaces.cli.console import (
    TrialsProgress,
    activation,
    bars_progress,
    slots_progress,
    table_of,
    trials_progress,
)
from penstock.interfaces.cli.terminal import say
from penstock.pipeline.ingest import IngestOutcome
from penstock.pipeline.research import ResearchOutcome
from penstock.pipeline.slots import SlotOutcome


class DemoView:
    """Shows each event of a running demo: call it with them. Use it as a context, so that no
    progress bar stays where the demo fails.
    """

    def __init__(self, out: Console) -> None:
        self._out = out
        self._bars = ExitStack()
        self._ingest: OnProgress = lambda _: None
        self._slot: Callable[[], None] = lambda: None
        self._trials: TrialsProgress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.close()

    def __call__(self, event: DemoEvent) -> None:
        match event:
            case IngestProgress():
                self._ingest(event)
            case TrialDone() if self._trials is not None:
                self._trials(event)
            case CutDone(done, total) if self._trials is not None:
                self._trials.cut(done, total)
            case SlotOutcome():
                self._slot()
            case IngestBegan():
                self._ingest = self._bars.enter_context(bars_progress(self._out))
            case SearchBegan(trials):
                self._trials = self._bars.enter_context(trials_progress(self._out, trials))
            case TradingBegan(slots):
                self._slot = self._bars.enter_context(slots_progress(self._out, slots))
            case _:
                self._bars.close()
                self._line(event)

    def _line(self, event: DemoEvent) -> None:
        """Print an event that is a line of its own."""
        indent = f"{'':<10}"
        match event:
            case CandlesWanted(exchange, symbols):
                kept = "(kept for the next time)"
                self._out.print(f"fetching candles of {symbols} symbols from {exchange} {kept} ...")
            case DemoForgotten(home):
                self._out.print(f"forgot the earlier demo in {home}")
            case StepBegan(step, what):
                self._out.print(f"[bold]{step:<10}[/] {what} ...")
            case StepEnded(_, seconds):
                self._out.print(f"{indent} done in {seconds:.1f} s")
            case IngestOutcome() | ResearchOutcome():
                self._out.print(f"{indent} {event.summary()}")


def show_result(out: Console, result: DemoResult) -> None:
    """Print the summary, the comparison of live and backtest, and where to look further."""
    out.print()
    out.print(table_of(summary_table(result), "Summary"))
    out.print(table_of(result.drift.table(), "Live equity against the backtest on the same bars"))
    out.print(result.drift.sentence())
    verdict = project_sentence(result.project_decision)
    say(f"The demo promotes whatever the search found. {verdict}", out)
    home, configs = _shown(result.home), _shown(result.home / "configs")
    prefix = f"PENSTOCK_HOME={home} PENSTOCK_CONFIGS={configs} PENSTOCK_ENV=practice"
    data_docs = result.home / "data-docs" / "1d" / "index.html"
    database = _shown(result.home / "mlflow.db")
    out.print(f"report      {_shown(result.report)}", soft_wrap=True)
    out.print(f"data docs   {_shown(data_docs)}", soft_wrap=True)
    out.print(f"MLflow      mlflow ui --backend-store-uri sqlite:///{database}", soft_wrap=True)
    for command in activation():
        out.print(f"commands    {command}   (once in each terminal)", soft_wrap=True)
    out.print(f"look around {prefix} penstock status", soft_wrap=True)


def _shown(path: Path) -> str:
    """Return the whole path as a shell takes it: the lines work from any folder."""
    return quote(str(path.absolute()))
