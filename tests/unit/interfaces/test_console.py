"""What a terminal shows: tables where they fit, else rows one below the other. Progress works
without a terminal.
"""

import io
import shlex
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from penstock.interfaces.cli.console import (
    stack_commands,
    stack_logins,
    table_of,
    trials_progress,
)
from penstock.interfaces.cli.demo_view import _shown
from penstock.pipeline.local_stack import RunningStack
from penstock.settings import StackSecret, stack_secret
from penstock.stack import Addresses

FRAME = pl.DataFrame(
    {
        "strategy": ["a-portfolio-with-a-long-name/1"] * 2,
        "cost": ["12,492.39", "7.50"],
        "reason": ["", "late"],
    }
)


def shown(width: int) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(table_of(FRAME, "Profit"))
    return console.export_text()


def test_table_that_fits_is_a_table() -> None:
    """Columns beside each other, under their names."""
    assert "strategy" in next(line for line in shown(80).splitlines() if "cost" in line)


def test_empty_table_that_does_not_fit_says_so() -> None:
    """Names of columns that are cut tell nobody anything."""
    console = Console(width=20, file=io.StringIO(), record=True)
    console.print(table_of(FRAME.clear(), "Profit"))
    text = console.export_text()
    assert "Profit" in text
    assert "nothing yet" in text
    assert "strate" not in text


def test_table_that_does_not_fit_is_shown_row_by_row_with_every_value_whole() -> None:
    """A value broken over five lines cannot be read. Each name and value has a line of its own, and
    empty ones are left out.
    """
    text = shown(45)
    assert text.count("a-portfolio-with-a-long-name/1") == 2
    assert "12,492.39" in text
    assert text.count("reason") == 1
    assert all(len(line) <= 45 for line in text.splitlines())


ROW = {
    "position": "ADA/USDT",
    "quantity": "160,000.1",
    "entry_price": "0.5512",
    "price": "95,514.00",
    "value": "18,820.11",
    "weight": "18.8%",
    "unrealised": "-1,003.20",
    "price_age": "13 h",
}


@pytest.mark.parametrize(("width", "left_out"), [(100, []), (80, ["entry price", "0.5512"])])
def test_positions_leave_columns_out_and_break_nothing(width: int, left_out: list[str]) -> None:
    """At 80 columns names and numbers were cut in two: "positio/n", "ADA/USD/T"."""
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(table_of(pl.DataFrame([ROW]), "Positions", spare=("entry_price", "price_age")))
    text = console.export_text()
    values = [value for value in ROW.values() if value not in left_out]
    (row,) = [line for line in text.splitlines() if "ADA/USDT" in line]
    assert [value for value in values if value not in row] == []
    assert not [each for each in left_out if each in text]
    assert "position" in text
    assert max(map(len, text.splitlines())) <= width


def test_sentence_takes_what_names_and_numbers_leave() -> None:
    """It is broken between words, and the names of criteria are not broken."""
    frame = pl.DataFrame(
        {
            "criterion": ["reproduced_by_second_engine"],
            "verdict": ["not judged"],
            "value": [-6.48],
            "reason": ["the threshold refuses nobody whatever was measured"],
        }
    )
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(table_of(frame, "Verdicts"))
    text = console.export_text()
    assert "reproduced_by_second_engine │ not judged │ -6.48 │ the threshold" in text
    assert max(map(len, text.splitlines())) == 80


def test_long_search_without_a_terminal_says_where_it_is() -> None:
    """In a log no bar moves: steps, trials and cuts are lines, about ten of each."""
    file = io.StringIO()
    with trials_progress(Console(file=file, width=100), 20) as progress:
        progress.stage("searching")
        for _ in range(20):
            progress(object())
        for done in range(1, 3002):
            progress.cut(done, 3001)
    lines = file.getvalue().splitlines()
    assert lines[0] == "searching ..."
    assert [line for line in lines if line.startswith("trial")][-1] == "trial 20 of 20"
    assert sum(line.startswith("cut") for line in lines) == 10


def test_commands_of_a_stack_name_its_port_and_folder() -> None:
    """They are pasted into a shell that knows neither."""
    addresses = Addresses("practice", "", "http://127.0.0.1:4321", "", "", "")
    lines = stack_commands(RunningStack(Path("/tmp/my home"), addresses))
    flows = next(place for place, line in enumerate(lines) if line.startswith("flows"))
    (exported, *tried), down = lines[flows:-1], lines[-1]
    assert exported.endswith(
        "export PREFECT_API_URL=http://127.0.0.1:4321/api "
        """PREFECT_API_AUTH_STRING="$(cat '/tmp/my home/prefect-auth')\""""
    )
    assert all(each.startswith("       prefect deployment ") for each in tried)
    assert shlex.split(down)[1:] == ["PENSTOCK_HOME=/tmp/my home", "penstock", "down"]


def test_stack_prints_the_next_commands_of_readme_and_first_how_to_find_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newcomer's shell finds no `penstock` before the virtual environment is activated."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "activate").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    addresses = Addresses("practice", "", "http://127.0.0.1:4321", "", "", "")
    lines = stack_commands(RunningStack(tmp_path, addresses))
    first, *commands = [line[7:] for line in lines[:6]]
    assert first == f"source {tmp_path}/bin/activate"
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    said = [line.split("  ")[0] for line in readme.splitlines() if line.startswith("penstock ")]
    assert commands == said[:5]
    (tmp_path / "bin" / "penstock").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert stack_commands(RunningStack(tmp_path, addresses))[0] == "try    penstock ingest"


def test_logins_of_a_stack_are_commands_and_no_passwords(tmp_path: Path) -> None:
    """The printed commands give what the pages ask for, and the output itself has no password."""
    home = tmp_path / "my home"
    prefect, mlflow = (
        stack_secret(home, which).get_secret_value()
        for which in (StackSecret.PREFECT, StackSecret.MLFLOW)
    )
    addresses = Addresses("practice", "", "http://127.0.0.1:4321", "", "", "")
    lines = stack_logins(RunningStack(home, addresses))
    shown = [
        subprocess.check_output(["sh", "-c", line.split(":  ")[1]], text=True) for line in lines
    ]
    assert [each.strip() for each in shown] == [prefect, mlflow.split(":")[1]]
    assert not any(prefect in line or mlflow in line for line in lines)


def test_paths_of_the_demo_are_whole_and_quoted() -> None:
    """A command with them works from any folder."""
    assert shlex.split(_shown(Path("my home") / "demo")) == [str(Path.cwd() / "my home" / "demo")]
