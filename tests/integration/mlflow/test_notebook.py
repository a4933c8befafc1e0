"""The notebook on promotion runs from top to bottom and ends where it says it does."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow

NOTEBOOK = Path(__file__).resolve().parents[3] / "notebooks" / "03_read_a_search_and_promote.ipynb"


def test_notebook_promotes_two_versions_and_rolls_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every cell runs; the first version is champion again at the end and the second is rolled
    back.
    """
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    last = notebook.cells[-1].outputs
    printed = "".join(output.get("text", "") for output in last)
    assert "('2', '1')" in printed
    shown = "".join(
        output["data"]["text/plain"] for output in last if output.output_type == "execute_result"
    )
    assert "champion" in shown
    assert "rolled_back" in shown
    assert not list(tmp_path.glob("mlflow.db")), "it works in a folder of its own"
