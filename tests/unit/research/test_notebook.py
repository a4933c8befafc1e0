"""The notebook on strategies runs from top to bottom and shows what it says it shows."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow

NOTEBOOK = (
    Path(__file__).resolve().parents[3] / "notebooks" / "02_write_and_backtest_a_strategy.ipynb"
)


def test_notebook_writes_checks_and_searches_a_strategy(tmp_path: Path) -> None:
    """Every cell runs; the honest strategy has no leak, the peeking one has, and both engines
    agree.
    """
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]  # nbformat has no types
    NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    printed = "".join(
        o.get("text", "")
        for cell in notebook.cells
        if cell.cell_type == "code"
        for o in cell.outputs
    )
    assert "breakout: True" in printed
    assert "with later bars removed after" in printed.split("peeking:")[1]
    assert "deflated" in printed
