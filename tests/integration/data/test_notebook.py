"""The notebook on data runs from top to bottom and shows what it says it shows."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[3] / "notebooks" / "01_explore_the_data.ipynb"


def test_notebook_finds_what_it_spoils(tmp_path: Path) -> None:
    """Every cell runs. Clean bars pass, the faulty ones stop the symbol, and the hash names the
    content.
    """
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    outputs = [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    ]
    shown = "".join(o.get("text", "") + o.get("data", {}).get("text/plain", "") for o in outputs)
    assert " verdicts, 0 failed" in shown
    for reason in ("low_too_high", "non_finite", "off_grid", "duplicate", "absurd_print"):
        assert reason in shown
    assert "-> the symbol stops" in shown
    assert "True False" in shown
