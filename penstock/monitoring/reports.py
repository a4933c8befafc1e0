"""Standalone HTML reports: one file with tables and interactive figures that needs no network.

DemoReport and PerformanceReport have one field per section, so that none can be left out.
"""

import html
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from penstock.core.amounts import to_step
from penstock.core.extras import extra
from penstock.monitoring.drift import DriftReport
from penstock.monitoring.returns import performance_of

#: The number of rows that are shown; a longer table says how many it has.
MAX_ROWS = 500
#: What the columns of a table of positions mean.
_POSITIONS_TEXT = (
    "A price is the newest that is known: the last stored close, or a fill that is newer. Its age "
    "is by the venue's time. "
    "Unrealised profit is what was bought times the price less the entry price, the average price "
    "paid; fees in the quote asset are not in it."
)
#: So few slots are drawn as points too: a line needs two, and a day's change is to be seen.
_FEW_POINTS = 40
#: How far the axes reach around a single slot, as a fraction.
_AROUND = 0.01
#: Words that are coloured like yes and no.
_MARKED = {"passed": "yes", "failed": "no"}

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --good: #1a7f4b; --bad: #c0392b; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1080px; }
body { margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
p.when, p.more { color: #888; } .table { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: left; }
th, td { white-space: nowrap; }
td.text { white-space: normal; min-width: 12rem; max-width: 44rem; }
th { background: var(--soft); } td.number { text-align: right; }
td.yes { color: var(--good); font-weight: 600; } td.no { color: var(--bad); font-weight: 600; }
nav a { margin-right: 1rem; }
"""


@dataclass(frozen=True)
class Section:
    """One part of a report: text, table and figure, in that order. Each may be absent."""

    title: str
    """The heading."""
    text: str = ""
    """Plain text. Blank lines separate paragraphs."""
    table: pl.DataFrame | None = None
    """The table."""
    figure: Any = None
    """The figure, a plotly.graph_objects.Figure (plotly publishes no types)."""
    empty: str = "Nothing to show."
    """What is shown in place of a table without rows."""


@dataclass(frozen=True)
class DemoReport:
    """What a run of the whole pipeline did, from ingested rows to live equity.

    Tables may be empty; none is absent. Each field is the table, the text or the figure of one
    section. The demo's gate lets anything pass: what the project's own thresholds say stands first.
    """

    made_at: datetime
    """When the report was made."""
    summary: pl.DataFrame
    ingest: pl.DataFrame
    checks: pl.DataFrame
    promoted: str
    verdicts: pl.DataFrame
    project_says: str
    project_verdicts: pl.DataFrame
    positions: pl.DataFrame
    orders: pl.DataFrame
    fills: pl.DataFrame
    trials_figure: Any
    equity_figure: Any
    drift: DriftReport

    def sections(self) -> list[Section]:
        return [
            Section("Summary", table=self.summary),
            drift_section(self.drift),
            Section("Equity and drawdown in sample", figure=self.equity_figure),
            Section("Search trials", figure=self.trials_figure),
            Section("The project's thresholds", self.project_says, self.project_verdicts),
            Section("Promotion verdicts", self.promoted, self.verdicts),
            Section("Ingest", table=self.ingest, empty="No symbol was ingested."),
            Section("Checks", table=self.checks, empty="No check was run."),
            Section("Positions", _POSITIONS_TEXT, self.positions, empty="Nothing is held."),
            Section("Orders", table=self.orders, empty="No order was placed."),
            Section("Fills", table=self.fills, empty="Nothing was filled."),
        ]


@dataclass(frozen=True)
class PerformanceReport:
    """What one account earned and holds, and its equity against the backtest of its versions.

    Each table is that of one section.
    """

    made_at: datetime
    """When the report was made."""
    account: str
    """The account's name."""
    summary: pl.DataFrame
    positions: pl.DataFrame
    positions_sentence: str
    orders: pl.DataFrame
    breaks: pl.DataFrame
    equity: pl.DataFrame
    """One row per slot: at, equity, cash and transferred, in quote units."""
    drift: DriftReport | None = None
    """The comparison with the backtest, where there is one."""
    order_count: int | None = None
    """How many orders the account has in all; None where `orders` has them all."""

    def sections(self) -> list[Section]:
        live = [] if self.drift is None else [drift_section(self.drift)]
        return [
            Section("Summary", table=self.summary),
            self._equity_section(),
            *live,
            Section(
                "Positions",
                f"The account's {self.positions_sentence}. {_POSITIONS_TEXT}",
                self.positions,
                empty="The account holds nothing.",
            ),
            Section("Orders", self._left_out(), self.orders, empty="No order was placed."),
            Section("Open breaks", table=self.breaks, empty="Ledger and venue agree."),
        ]

    def _left_out(self) -> str:
        """Return how many older orders the table leaves out; "" where it has all."""
        if self.order_count is None or self.order_count <= self.orders.height:
            return ""
        return f"The newest {self.orders.height:,} of {self.order_count:,} orders."

    def _equity_section(self) -> Section:
        if self.equity.is_empty():
            return Section("Equity", "No slot was traded yet.")
        text = (
            "One slot was traded: it is a point, and the curves begin with the second."
            if self.equity.height == 1
            else ""
        )
        return Section("Equity", text, figure=account_figure(self.equity))


def drift_section(drift: DriftReport) -> Section:
    """Return the section that explains how live equity differs from the backtest."""
    return Section(
        "Live against backtest",
        text=drift.sentence(),
        table=drift.table(),
        figure=equity_figure(drift),
    )


def equity_figure(drift: DriftReport) -> Any:
    """Return a plotly figure of the three equity curves and, below, of the two differences.

    All are in quote units. The differences need a scale of their own, because the curves are close
    to each other.
    """
    with extra("research"):
        import plotly.graph_objects as go
        from plotly.subplots import make_subplots

    curves, instants = drift.curves, drift.curves["ts"].to_list()
    rounding, unexplained = curves["replay"] - curves["backtest"], curves["live"] - curves["replay"]
    figure = make_subplots(rows=2, shared_xaxes=True, row_heights=[0.6, 0.4], vertical_spacing=0.06)
    for name in ("backtest", "replay", "live"):
        figure.add_trace(
            go.Scatter(x=instants, y=curves[name].to_list(), name=name, mode="lines"), row=1, col=1
        )
    for name, values in (("replay - backtest", rounding), ("live - replay", unexplained)):
        figure.add_trace(
            go.Scatter(x=instants, y=values.to_list(), name=name, mode="lines"), row=2, col=1
        )
    figure.update_yaxes(title_text="equity, quote units", row=1, col=1)
    figure.update_yaxes(title_text="difference", row=2, col=1)
    return figure.update_layout(height=520, template="plotly_white", margin={"t": 40, "b": 40})


def account_figure(equity: pl.DataFrame) -> Any:
    """Return a plotly figure of an account's equity and, below, of its cash and of its return.

    `equity` has the columns at, equity, cash and transferred, in quote units. Each has an axis of
    its own: beside the cash, which reaches down to nothing, the equity would be a straight line.
    The return leaves transfers out. Few slots are drawn as points.
    """
    with extra("research"):
        import plotly.graph_objects as go
        from plotly.subplots import make_subplots

    instants, earned = equity["at"].to_list(), performance_of(equity)
    rows = (
        ("equity", equity["equity"].to_list(), "equity, quote units", ",.6~f"),
        ("return", (earned.growth - 1).tolist(), "return, transfers<br>left out", "+.2~%"),
        ("cash", equity["cash"].to_list(), "cash, quote units", ",.6~f"),
    )
    figure = make_subplots(
        rows=len(rows), shared_xaxes=True, row_heights=[0.5, 0.25, 0.25], vertical_spacing=0.05
    )
    mode = "lines+markers" if equity.height <= _FEW_POINTS else "lines"
    for row, (name, values, title, ticks) in enumerate(rows, 1):
        line = go.Scatter(x=instants, y=values, name=name, mode=mode)
        figure.add_trace(line, row=row, col=1)
        figure.update_yaxes(title_text=title, tickformat=ticks, row=row, col=1)
        if equity.height == 1:  # without a range of its own the axis shows milliseconds
            around = max(abs(values[0]) * _AROUND, _AROUND)
            figure.update_yaxes(range=[values[0] - around, values[0] + around], row=row, col=1)
    if equity.height == 1:
        day = timedelta(days=1)
        figure.update_xaxes(range=[instants[0] - day, instants[0] + day])
    return figure.update_layout(height=640, template="plotly_white", margin={"t": 40, "b": 40})


def report_path(folder: Path, name: str, made_at: datetime) -> Path:
    """Return a new file's path in `folder`: name and time. No report takes the place of another."""
    stem = f"{name}-{made_at:%Y-%m-%d-%H%M%S}"
    names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    return next(path for each in names if not (path := folder / f"{each}.html").exists())


def write_demo_report(report: DemoReport, path: Path) -> Path:
    """Write the demo's report to `path` and return it."""
    return write_html("Penstock demo", report.sections(), report.made_at, path)


def write_performance_report(report: PerformanceReport, path: Path) -> Path:
    """Write an account's report to `path` and return it."""
    return write_html(
        f"Performance of account {report.account}", report.sections(), report.made_at, path
    )


def write_html(title: str, sections: Sequence[Section], made_at: datetime, path: Path) -> Path:
    """Write `sections` as one standalone HTML file (whole or not at all) and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".partial")
    draft.write_text(render_html(title, sections, made_at), encoding="utf-8")
    return draft.replace(path)


def render_html(title: str, sections: Sequence[Section], made_at: datetime) -> str:
    """Return the HTML page of `sections`.

    plotly's script is inlined once, and only where there is a figure.
    """
    links = "".join(
        f'<a href="#{_anchor(section)}">{html.escape(section.title)}</a>' for section in sections
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style>{_script(sections)}</head><body><h1>{html.escape(title)}</h1>"
        f'<p class="when">Made {made_at:%Y-%m-%d %H:%M:%S} UTC</p><nav>{links}</nav>'
        + "".join(_section(section) for section in sections)
        + "</body></html>\n"
    )


def _script(sections: Sequence[Section]) -> str:
    if all(section.figure is None for section in sections):
        return ""
    with extra("research"):
        from plotly.offline import get_plotlyjs

    return f'<script type="text/javascript">{get_plotlyjs()}</script>'


def _anchor(section: Section) -> str:
    return "-".join(section.title.lower().split())


def _section(section: Section) -> str:
    parts = [f'<section id="{_anchor(section)}"><h2>{html.escape(section.title)}</h2>']
    parts += [
        f"<p>{html.escape(paragraph)}</p>"
        for paragraph in section.text.split("\n\n")
        if paragraph.strip()
    ]
    if section.table is not None:
        parts.append(_table(section.table, section.empty))
    if section.figure is not None:
        parts.append(section.figure.to_html(full_html=False, include_plotlyjs=False))
    return "".join([*parts, "</section>"])


def _table(table: pl.DataFrame, empty: str) -> str:
    """Return the table without the columns that are empty in every row."""
    if table.is_empty():
        return f'<p class="more">{html.escape(empty)}</p>'
    table = table.select(
        name for name in table.columns if any(value not in (None, "") for value in table[name])
    )
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
    rows = "".join(
        f"<tr>{''.join(_cell(value) for value in row)}</tr>"
        for row in table.head(MAX_ROWS).iter_rows()
    )
    left = table.height - MAX_ROWS
    more = (
        f'<p class="more">{left} more of {table.height} rows are not shown.</p>' if left > 0 else ""
    )
    body = f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
    return f'<div class="table"><table>{body}</table></div>{more}'


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return f'<td class="{"yes" if value else "no"}">{"yes" if value else "no"}</td>'
    if isinstance(value, int | float | Decimal):
        return f'<td class="number">{format_number(value)}</td>'
    if isinstance(value, datetime):
        return f"<td>{value:%Y-%m-%d %H:%M:%S}</td>"
    if value in _MARKED:
        return f'<td class="{_MARKED[str(value)]}">{value}</td>'
    text = "" if value is None else html.escape(str(value))
    return f'<td class="text">{text}</td>' if len(text) > 60 else f"<td>{text}</td>"


def format_number(value: object) -> str:
    """Return a number as text: whole ones grouped, others with six significant digits.

    A Decimal has its digits, but no zeros at its end. No number has an exponent or a minus zero.
    """
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return f"{value:z,.0f}"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:z,.2f}" if abs(value) >= 1000 else to_step(Decimal(f"{value:.6g}"))
    return to_step(value) if isinstance(value, Decimal) else str(value)
