"""The notebooks run from top to bottom, and are kept as STYLE asks: a question, its answer, their outputs."""

import re
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

pytestmark = pytest.mark.notebooks
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def read(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def check_outputs(notebook):
    """No error and nothing on standard error, a figure, and no path of the machine that it ran on."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    data = [output.data for output in outputs if "data" in output]
    assert any("image/png" in entry for entry in data)
    texts = [output.text for output in outputs if "text" in output] + [entry.get("text/plain", "") for entry in data]
    assert not [text for text in texts if re.search(r"(^|\s)(/[\w.-]+){2,}|[A-Z]:\\", text)]


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 2


@each_notebook
def test_it_is_kept_well(path):
    notebook = read(path)
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    question, answer = first.source.split("\n", 1)
    assert question.startswith("# ")
    assert question.endswith("?")
    assert re.search(r"\*\*[^*]*\d", answer), "the answer has no number in bold"
    lines = [line for cell in code_cells(notebook) for line in cell.source.splitlines() if line.strip()]
    assert len(lines) <= 60
    assert [cell.execution_count for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    assert notebook.metadata.kernelspec.name == "python3"
    check_outputs(notebook)


@each_notebook
def test_it_runs(path, tmp_path, monkeypatch):
    # The kernel chooses how to draw; the tests' own choice is not meant for it.
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = read(path)
    client = nbclient.NotebookClient(
        notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    check_outputs(notebook)
