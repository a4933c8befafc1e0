"""Reports are parsed as a browser does: tables cell by cell, and no address outside the file."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import plotly.graph_objects as go
import polars as pl
import pytest

from penstock.monitoring.drift import DriftReport, explain_difference
from penstock.monitoring.reports import (
    MAX_ROWS,
    DemoReport,
    PerformanceReport,
    Section,
    account_figure,
    equity_figure,
    render_html,
    report_path,
    write_demo_report,
    write_performance_report,
)

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)


class Page(HTMLParser):
    """Headings, table cells by section, and addresses of what a page loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.loads: list[str] = []
        self._open: list[str] = []
        self._heading = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open.append(tag)
        self.loads += [
            value or ""
            for name, value in attrs
            if name == "src" or (tag == "link" and name == "href")
        ]
        if tag == "h2":
            self._heading = ""
        if tag == "tr":
            self.tables.setdefault(self._heading, []).append([])
        if tag in ("td", "th"):
            self.tables[self._heading][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside == "h2":
            self._heading += data
        if inside in ("td", "th"):
            self.tables[self._heading][-1][-1] += data


@pytest.fixture
def drift() -> DriftReport:
    def curve(*equity: float) -> pl.DataFrame:
        return pl.DataFrame(
            {"ts": [NOW + timedelta(days=i) for i in range(len(equity))], "equity": list(equity)}
        )

    return explain_difference(curve(1000, 1010), curve(1000, 1012), curve(1000, 1020))


@pytest.fixture
def demo(drift: DriftReport) -> DemoReport:
    figure = go.Figure(go.Scatter(y=[1, 2, 3]))
    return DemoReport(
        made_at=NOW,
        summary=pl.DataFrame({"fact": ["rows ingested"], "value": ["10,950"]}),
        ingest=pl.DataFrame({"symbol": ["BTC/USDT"], "new": [1095]}),
        checks=pl.DataFrame({"check": ["high_is_highest"], "success": [True]}),
        promoted="trend/1: champion, performance not judged",
        verdicts=pl.DataFrame({"criterion": ["deflated_sharpe"], "verdict": ["not judged"]}),
        project_says="would reject it",
        project_verdicts=pl.DataFrame({"criterion": ["deflated_sharpe"], "verdict": ["failed"]}),
        positions=pl.DataFrame({"position": ["BTC/USDT"], "value": ["1.50"]}),
        orders=pl.DataFrame({"symbol": ["BTC/USDT"], "quantity": [Decimal("0.0150")]}),
        fills=pl.DataFrame(schema={"symbol": pl.String()}),
        trials_figure=figure,
        equity_figure=figure,
        drift=drift,
    )


def test_demo_report_holds_every_table_with_its_values(demo: DemoReport, tmp_path: Path) -> None:
    """Each section's table is in the file, cell by cell. Decimals have no zeros at the end, and
    booleans are words.
    """
    text = write_demo_report(demo, tmp_path / "deep" / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.tables["Summary"] == [["fact", "value"], ["rows ingested", "10,950"]]
    assert page.tables["Ingest"] == [["symbol", "new"], ["BTC/USDT", "1,095"]]
    assert page.tables["Checks"] == [["check", "success"], ["high_is_highest", "yes"]]
    assert page.tables["Promotion verdicts"][1] == ["deflated_sharpe", "not judged"]
    assert page.tables["The project's thresholds"][1] == ["deflated_sharpe", "failed"]
    assert '<td class="no">failed</td>' in text, "what failed is seen at a glance"
    assert "<p>trend/1: champion, performance not judged</p>" in text
    assert page.tables["Orders"][1] == ["BTC/USDT", "0.015"]
    assert page.tables["Live against backtest"][-1][:2] == ["live equity", "1,010"]
    assert "Fills" not in page.tables, "an empty table is said in words"


def test_report_is_one_file_that_needs_no_network(demo: DemoReport, tmp_path: Path) -> None:
    """plotly's script is inside, once, and nothing is loaded from elsewhere."""
    text = write_demo_report(demo, tmp_path / "report.html").read_text(encoding="utf-8")
    assert Page(text).loads == []
    assert text.count("Plotly.newPlot(") >= 3
    assert len(re.findall(r"plotly\.js v\d", text)) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "report.html"]


def test_text_and_cells_are_escaped() -> None:
    """A reason that a venue sent cannot become markup."""
    table = pl.DataFrame({"<b>reason</b>": ["<script>alert(1)</script>"]})
    text = render_html("a & b", [Section("x < y", text="1 < 2", table=table)], NOW)
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "<title>a &amp; b</title>" in text


def test_long_table_is_cut_and_says_so() -> None:
    """A year of orders does not make a file that no browser opens."""
    text = render_html(
        "long", [Section("rows", table=pl.DataFrame({"n": range(MAX_ROWS + 7)}))], NOW
    )
    assert len(Page(text).tables["rows"]) == MAX_ROWS + 1
    assert f"7 more of {MAX_ROWS + 7} rows are not shown" in text


def test_column_that_is_empty_in_every_row_is_left_out() -> None:
    """One value keeps it."""
    rows = pl.DataFrame({"symbol": ["A", "B"], "venue": ["", ""], "reason": [None, "too small"]})
    page = Page(render_html("orders", [Section("rows", table=rows)], NOW))
    assert page.tables["rows"][0] == ["symbol", "reason"]


def test_performance_report_works_without_a_backtest_to_compare(
    drift: DriftReport, tmp_path: Path
) -> None:
    """A new account has no replay yet; with one, the comparison is there."""
    nothing = pl.DataFrame(schema={"symbol": pl.String()})
    report = PerformanceReport(
        made_at=NOW,
        account="demo",
        summary=pl.DataFrame({"equity": [1.0]}),
        positions=nothing,
        positions_sentence="equity is 0.00 USDT",
        orders=nothing,
        breaks=nothing,
        equity=nothing,
    )
    text = write_performance_report(report, tmp_path / "p.html").read_text(encoding="utf-8")
    assert "Ledger and venue agree." in text
    assert "No slot was traded yet." in text
    assert "Plotly" not in text
    equity = pl.DataFrame({"at": [NOW], "equity": [1000.0], "cash": [10.0], "transferred": [0.0]})
    traded = replace(report, drift=drift, equity=equity)
    text = write_performance_report(traded, tmp_path / "p.html").read_text(encoding="utf-8")
    assert "unexplained" in text
    assert text.count("Plotly.newPlot(") == 2
    assert "One slot was traded" in text
    one = account_figure(equity)
    assert one.layout.xaxis.range == (NOW - timedelta(days=1), NOW + timedelta(days=1))
    assert one.layout.yaxis.range == (990, 1010)
    assert one.layout.yaxis2.range == (-0.01, 0.01)


def test_differences_of_the_curves_have_a_panel_of_their_own(drift: DriftReport) -> None:
    """Curves that lie on one another hide a difference of a few units. The difference has a panel
    with its own scale.
    """
    drawn = {trace.name: trace for trace in equity_figure(drift).data}
    assert list(drawn["replay - backtest"].y) == [0, -8]
    assert list(drawn["live - replay"].y) == [0, -2]
    assert {drawn[name].yaxis for name in ("backtest", "replay", "live")} == {"y"}
    assert {drawn[name].yaxis for name in ("replay - backtest", "live - replay")} == {"y2"}


def test_deposit_lifts_the_equity_curve_and_not_the_return() -> None:
    """The account's figure has the transfer in its upper panel only. Equity, cash and return have
    an axis each: beside the cash a change of the equity is not seen.
    """
    days = [NOW + timedelta(days=i) for i in range(3)]
    equity = pl.DataFrame(
        {
            "at": days,
            "equity": [100.0, 110.0, 160.0],
            "cash": [10.0, 10.0, 60.0],
            "transferred": [0.0, 0.0, 50.0],
        }
    )
    drawn = {trace.name: trace for trace in account_figure(equity).data}
    assert list(drawn["equity"].y) == [100, 110, 160]
    assert list(drawn["return"].y) == pytest.approx([0, 0.1, 0.1])
    assert {name: trace.yaxis for name, trace in drawn.items()} == {
        "equity": "y",
        "return": "y2",
        "cash": "y3",
    }


def test_report_of_the_same_second_has_a_name_of_its_own(tmp_path: Path) -> None:
    """No report takes the place of another."""
    first = report_path(tmp_path, "demo", NOW)
    first.touch()
    assert first.name == "demo-2025-06-01-120000.html"
    assert report_path(tmp_path, "demo", NOW).name == "demo-2025-06-01-120000-2.html"
