"""The notebooks run from top to bottom."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))
SHORT = {"duration = 25_600": "duration = 128", "duration = 12_800": "duration = 128", "steps=20": "steps=4"} | {
    "sample(80, seed=1)": "sample(4, seed=1)",
    "sample(20, labels": "sample(4, labels",
    "sample(32, ": "sample(4, ",
    "sample(40, steps=10)": "sample(4, steps=2)",
}
"""What is shortened to test that everything runs; what comes out is then not worth looking at."""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # beside the other tests
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for full, short in SHORT.items():
            cell.source = cell.source.replace(full, short)
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    images = [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs if "data" in output
    ]
    assert sum("image/png" in output["data"] for output in images) >= 2
