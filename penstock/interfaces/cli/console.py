"""How outcomes look in a terminal: tables and progress bars."""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

import polars as pl
from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderResult
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from penstock.data.ingestion import IngestProgress, OnProgress
from penstock.interfaces.cli import tables
from penstock.interfaces.cli.remedies import CHECK_REMEDIES
from penstock.monitoring.positions import Holdings
from penstock.monitoring.reports import format_number
from penstock.monitoring.tables import figures_table, positions_sentence, positions_table
from penstock.pipeline.doctor import HealthCheck
from penstock.pipeline.local_stack import RunningStack
from penstock.pipeline.status import AccountStatus, SystemStatus
from penstock.settings import StackSecret

#: The characters that each column takes beside its text: a line and two spaces.
_FRAME = 3
#: How long a value may be that is never broken: the longest names of criteria and accounts.
_WHOLE = 27


class FittingTable:
    """A frame as a table. Columns that are empty in every row are left out. No symbol, number or
    time is ever broken: where the console is too narrow, columns named in `spare` are left out, the
    first one first, and then each row is a block of names and values.
    """

    def __init__(
        self, frame: pl.DataFrame, title: str, caption: str | None, spare: Sequence[str] = ()
    ) -> None:
        self.title = title
        self.caption = caption
        self._frame = frame
        self._spare = tuple(name for name in spare if name in frame.columns)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for left_out in range(len(self._spare) + 1):
            table = self._table(self._frame.drop(self._spare[:left_out]), options.max_width)
            if table is not None:
                yield table
                return
        yield self._records()

    def _table(self, frame: pl.DataFrame, width: int) -> Table | None:
        """Return the table; None where it does not fit."""
        shown = [
            name
            for name in frame.columns
            if frame.height == 0 or any(_text(value) for value in frame[name])
        ]
        texts = {
            name: [Text.from_markup(_text(value)).plain for value in frame[name]] for name in shown
        }
        headers = {name: name.replace("_", " ") for name in shown}
        least = [
            max(0, *map(_whole, texts[name]), *map(len, headers[name].split())) for name in shown
        ]
        most = [max(len(headers[name]), *map(len, texts[name])) for name in shown]
        left = width - 1 - sum(each + _FRAME for each in least)
        if left < 0:
            return None
        table = Table(
            title=self.title,
            title_justify="left",
            header_style="bold",
            caption=self.caption,
            show_header=any(shown),
            min_width=min(len(self.title) + 1, width),
        )
        for name, column_width in zip(shown, _widths(least, most, left), strict=True):
            side: JustifyMethod = "right" if frame.schema[name].is_numeric() else "left"
            # a name that is cut cannot be looked up
            table.add_column(headers[name], justify=side, overflow="fold", width=column_width)
        for row in frame.select(shown).iter_rows():
            table.add_row(*(_text(value) for value in row))
        return table

    def _records(self) -> Table:
        records = Table(
            title=self.title, title_justify="left", show_header=False, caption=self.caption
        )
        records.add_column(style="bold", no_wrap=True)
        records.add_column(overflow="fold")
        for row in self._frame.iter_rows(named=True):
            filled = [(name, _text(value)) for name, value in row.items() if _text(value)]
            for place, (name, text) in enumerate(filled, 1):
                records.add_row(name.replace("_", " "), text, end_section=place == len(filled))
        return records


def _widths(least: Sequence[int], most: Sequence[int], left: int) -> list[int]:
    """Return the columns' widths: what is left is shared by those that could use more, and what one
    does not need is for the others.
    """
    widths = list(least)
    by_wish = sorted(range(len(widths)), key=lambda each: most[each] - least[each])
    for place, column in enumerate(by_wish):
        more = min(max(most[column] - least[column], 0), left // (len(by_wish) - place))
        widths[column] += more
        left -= more
    return widths


def _whole(text: str) -> int:
    """Return how many characters of a value may not be broken. A sentence is broken at its spaces,
    and what is longer than a symbol or a name, anywhere.
    """
    if len(text) <= _WHOLE:
        return len(text)
    return min(max(map(len, text.split())), _WHOLE) if " " in text else min(len(text), _WHOLE)


def table_of(
    frame: pl.DataFrame, title: str, empty: str = "nothing yet", spare: Sequence[str] = ()
) -> FittingTable:
    """Return a frame as a table that fits: see FittingTable."""
    if frame.is_empty():
        return FittingTable(pl.DataFrame({"": [empty]}), title, None)
    return FittingTable(frame, title, None, spare)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "[green]yes[/]" if value else "[red]no[/]"
    if isinstance(value, int | float):
        return format_number(value)
    return (
        f"{value:%Y-%m-%d %H:%M}" if hasattr(value, "strftime") else str(value).replace("[", "\\[")
    )


def status_view(status: SystemStatus) -> Group:
    """Return the status as the tables that `penstock status` shows."""
    return Group(
        table_of(
            tables.coverage_table(status),
            f"Bars ({status.environment}, {status.database})",
            "none stored: run `penstock ingest`",
        ),
        table_of(
            tables.models_table(status),
            "Models",
            "not known"
            if status.models_unknown
            else "none promoted: run `penstock research`, then `penstock promote`",
        ),
        *(part for each in status.accounts for part in _account_view(each)),
        table_of(tables.locks_table(status), "Locked instruments", "none: ledger and venue agree"),
        table_of(tables.halts_table(status), "Halted accounts", "none"),
    )


def _account_view(account: AccountStatus) -> list[FittingTable]:
    """Return an account's figures, and its positions where it has any."""
    named = f"{account.portfolio} ({account.account})"
    figures = table_of(figures_table(account.figures), f"Portfolio {named}")
    held = positions_view(account.holdings, f"Positions of {named}")
    return [figures, held] if account.holdings.positions else [figures]


def positions_view(holdings: Holdings, title: str) -> FittingTable:
    """Return what an account holds, with what all of it is worth."""
    frame = positions_table(holdings)
    table = table_of(frame, title, "nothing is held", ("entry_price", "price_age"))
    table.caption = None if frame.is_empty() else positions_sentence(holdings)
    return table


def stack_view(stack: RunningStack) -> Table:
    """Return where the parts of the local stack answer."""
    at = stack.addresses
    table = Table(title="Penstock is up", title_justify="left", show_header=False)
    table.add_row("Prefect UI", at.prefect)
    table.add_row("MLflow UI", at.mlflow)
    table.add_row("database", at.database)
    if at.practice:
        table.add_row("practice exchange", at.practice)
    table.add_row("logs", str(stack.home / "logs"))
    return table


def stack_logins(stack: RunningStack) -> list[str]:
    """Return how a person gets into the pages of the local stack.

    The passwords stay in their files: what a terminal shows ends up in logs.
    """
    auth, login = (
        quote(str(stack.home / which)) for which in (StackSecret.PREFECT, StackSecret.MLFLOW)
    )
    return [
        f"login  Prefect asks for the whole line that this prints:   cat {auth}",
        f"       MLflow asks for the user penstock and the password:  cut -d: -f2 {login}",
    ]


def stack_commands(stack: RunningStack) -> list[str]:
    """Return what to try with the local stack (README's next commands, from the project's folder),
    how to start its flows, and how to stop it. These two work from any folder.
    """
    auth = quote(str(stack.home / StackSecret.PREFECT))
    tried = [*activation(), "penstock ingest"]
    if stack.addresses.environment == "practice":
        tried += [f"penstock {step} --study first-day" for step in ("research", "promote")]
        tried += [f"penstock {step} -p first-day" for step in ("rebalance", "report")]
    first, *others = tried
    return [
        f"try    {first}",
        *(f"       {each}" for each in others),
        f"flows  export PREFECT_API_URL={stack.addresses.prefect_api} "
        f'PREFECT_API_AUTH_STRING="$(cat {auth})"',
        "       prefect deployment ls",
        "       prefect deployment run ingest-bars/ingest-1d --watch",
        f"stop   PENSTOCK_HOME={quote(str(stack.home))} penstock down",
    ]


def activation() -> list[str]:
    """Return the command that lets a shell find `penstock`; none where it finds this one."""
    folder = Path(sys.prefix) / "bin"
    found = shutil.which("penstock")
    if (found and Path(found).parent == folder) or not (folder / "activate").is_file():
        return []
    return [f"source {quote(str(folder / 'activate'))}"]


@contextmanager
def bars_progress(console: Console) -> Iterator[OnProgress]:
    """Show one progress bar per symbol while bars come in."""
    with _progress(console) as bars:
        rows: dict[str, TaskID] = {}

        def tell(progress: IngestProgress) -> None:
            if progress.symbol not in rows:
                rows[progress.symbol] = bars.add_task(progress.symbol, total=progress.total)
            bars.update(rows[progress.symbol], completed=progress.done)

        yield tell


class TrialsProgress:
    """Progress of a search: a bar over its trials and one over the cuts of its check. Without a
    terminal they are lines. Call it after each trial.
    """

    def __init__(self, bars: Progress, total: int) -> None:
        self._bars = bars
        self._total, self._done = total, 0
        self._row = bars.add_task("trials", total=total)
        self._cuts: TaskID | None = None

    def __call__(self, _trial: object) -> None:
        self._bars.advance(self._row)
        self._done += 1
        tenth = max(self._total // 10, 1)
        if not self._bars.console.is_terminal and self._done % tenth == 0:
            self._bars.console.print(f"trial {self._done} of {self._total}", highlight=False)

    def cut(self, done: int, total: int) -> None:
        """Say how many cuts of the check against lookahead are done."""
        if self._cuts is None:
            self._cuts = self._bars.add_task("cuts", total=total)
        self._bars.update(self._cuts, completed=done)
        if not self._bars.console.is_terminal and done % max(total // 10, 1) == 0:
            self._bars.console.print(f"cut {done} of {total}", highlight=False)

    def stage(self, name: str) -> None:
        """Say that a step begins."""
        self._bars.console.print(f"{name} ...", highlight=False, soft_wrap=True)


@contextmanager
def trials_progress(console: Console, total: int) -> Iterator[TrialsProgress]:
    """Show how many trials of a search are done."""
    with _progress(console) as bars:
        yield TrialsProgress(bars, total)


@contextmanager
def slots_progress(console: Console, total: int) -> Iterator[Callable[[], None]]:
    """Show how many slots are traded; what is yielded is called after each."""
    with _progress(console) as bars:
        row = bars.add_task("slots", total=total)
        yield lambda: bars.advance(row)


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        yield bars


def checks_view(checks: Sequence[HealthCheck]) -> Table:
    """Return what the doctor saw, with a remedy for each check that is not well."""
    table = Table(title="Doctor", title_justify="left", header_style="bold")
    for name in ("", "what", "seen", "remedy"):
        table.add_column(name, overflow="fold")
    for check in checks:
        mark = "[yellow]warn[/]" if check.warning else "[green]ok[/]" if check.ok else "[red]bad[/]"
        remedy = "" if check.ok and not check.warning else CHECK_REMEDIES[check.cause]
        table.add_row(mark, check.subject, check.seen.replace("[", "\\["), remedy)
    return table
