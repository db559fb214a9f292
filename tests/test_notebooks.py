"""The notebooks of docs/ are executed from their first cell to their last, and what they show is so."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")
Execute = Callable[[str], dict[str, str]]
"""Name of a notebook → the text that each code cell shows, by the cell's id."""


def read(file: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own, about folders of settings
        import nbformat
    return nbformat.read(file, as_version=4)


@pytest.fixture
def execute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Execute:
    """Runs a notebook in a process of its own, in an empty folder."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    monkeypatch.setenv("PYTHONPATH", str(DOCS.parent), prepend=":")
    monkeypatch.setenv("MPSEARCH_CACHE", str(tmp_path / "cache"))

    def run(name: str) -> dict[str, str]:
        notebook = read(DOCS / "notebooks" / name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the client's event loop and of folders of settings
            from nbclient import NotebookClient

            resources = {"metadata": {"path": str(tmp_path)}}
            NotebookClient(notebook, timeout=900, kernel_name="python3", resources=resources).execute()
        return {cell.id: "".join(shown(output) for output in cell.outputs) for cell in notebook.cells if cell.cell_type == "code"}

    return run


def shown(output: Any) -> str:
    """The text of an output; of one that is no text, its richest type and what it holds."""
    if output.output_type == "stream":
        return str(output.text)
    data = output.data
    kind = next(kind for kind in ("application/vnd.plotly.v1+json", "text/html", "image/png", "text/plain") if kind in data)
    return f"{kind} {data[kind]}"


def percent(text: str) -> float:
    return float(re.findall(r"accuracy (\d+\.\d)%", text)[-1])


def test_your_own_model(execute: Execute, tmp_path: Path) -> None:
    shows = execute("your_own_model.ipynb")
    delivered, exported = tmp_path / "runs" / "listener" / "model.safetensors", tmp_path / "listener.onnx"
    assert f"{delivered.stat().st_size:,} bytes of 8,000" in shows["size"]
    assert 6_000 < delivered.stat().st_size <= 8_000
    assert f"listener.onnx: {exported.stat().st_size:,} bytes" in shows["export"]
    assert percent(shows["training"]) > 85
    assert percent(shows["size"]) == percent(shows["load"]) == percent(shows["runtime"])
    assert percent(shows["load"]) > percent(shows["training"]) - 5
    assert shows["result"].startswith("text/html")
    assert "best uniform" in shows["result"]
    assert shows["front"].startswith("application/vnd.plotly")


@pytest.mark.slow
def test_digits_in_2MB(execute: Execute, tmp_path: Path) -> None:
    shows = execute("digits_in_2MB.ipynb")
    size = (tmp_path / "runs" / "digits" / "model.safetensors").stat().st_size
    assert 1_900_000 < size <= 2_000_000
    assert f"{size:,} bytes of 2,000,000" in shows["file"]
    (metric,) = re.findall(r"test metric (0\.\d+)", shows["evaluate"])
    assert float(metric) > 0.95
    assert f"{float(metric):.2%}"[:-1] in shows["summary"]
    assert len(shows["bits"].splitlines()) == 21
    assert shows["load"].rpartition("image/png")[1]
    assert "size 1,79" in shows["pick"]
    assert (tmp_path / "runs" / "digits" / "front.html").is_file()


@pytest.mark.parametrize("file", NOTEBOOKS, ids=[file.name for file in NOTEBOOKS])
def test_notebooks_are_small_stored_without_outputs_and_their_links_lead_somewhere(file: Path) -> None:
    assert file.stat().st_size < 200_000
    cells = read(file).cells
    assert not [cell.id for cell in cells if cell.get("outputs") or cell.get("execution_count")]
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert [target for target in LINK.findall(text) if not (file.parent / target).exists()] == []
