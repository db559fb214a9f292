"""`mpsearch plot` on a summary that a stranger made up: one line and exit code 2, or a picture."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mpsearch.cli import main
from tests.report.summaries import make_summary

FORGED: list[dict[str, Any]] = [
    {"name": 5}, {"model": []}, {"model": "x" * 3_000_000}, {"model": "\ud800"}, {"layers": []}, {"formats": []}, {"reachable": {}},
    {"artifact_bytes": 0}, {"artifact_bytes": 10**400}, {"artifact_bytes": "x"}, {"seconds": {"a": float("inf")}},
    {"surrogate": {"count": 3}}, {"seed": int("9" * 4000)}, {"test": {"float": None}}, {"card": "//evil.example/x"}, {"evil": 1},
]  # fmt: skip


def put(run: Path, changes: dict[str, Any]) -> None:
    run.mkdir(exist_ok=True)
    (run / "summary.json").write_text(json.dumps({**make_summary().to_dict(), **changes}))


@pytest.mark.parametrize("out", ["front.html", "front.svg"])
@pytest.mark.parametrize("changes", FORGED, ids=lambda changes: "-".join(f"{key}={str(value)[:20]!a}" for key, value in changes.items()))
def test_a_forged_summary_is_one_line(changes: dict[str, Any], out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "run", changes)
    assert main(["plot", str(tmp_path / "run"), "--out", str(tmp_path / out)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"mpsearch: error: {tmp_path / 'run' / 'summary.json'} is damaged (")
    assert told.endswith("; run the study again, which makes it anew\n")
    assert told.count("\n") == 1
    assert not (tmp_path / out).exists()


@pytest.mark.parametrize("out", ["front.html", "front.svg"])
def test_odd_names_are_drawn_as_they_are(out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "run", {"model": "$\\frac{$ \x1b[2J", "metric": "a$x^{$b", "budgets": []})
    target = tmp_path / f"\x1b]0;pwned\x07{out}"
    assert main(["plot", str(tmp_path / "run"), "--out", str(target)]) == 0
    assert target.exists()
    assert capsys.readouterr().out.endswith(f"\\x1b]0;pwned\\x07{out}\n")


def test_what_has_no_end_is_not_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = tmp_path / "summary.json"
    os.mkfifo(summary)
    assert main(["plot", str(tmp_path)]) == 2
    assert "holds no summary.json" in capsys.readouterr().err
    summary.unlink()
    with summary.open("wb") as file:
        file.truncate(5 << 30)
    assert main(["plot", str(tmp_path)]) == 2
    assert "5,368,709,120 bytes" in capsys.readouterr().err


def test_settings_of_matplotlib_in_the_working_directory_are_not_read(tmp_path: Path) -> None:
    put(tmp_path / "run", {})
    os.mkfifo(tmp_path / "matplotlibrc")  # who opens it waits forever
    command = [sys.executable, "-m", "mpsearch", "plot", "run", "--out", "front.svg"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, timeout=300)
    assert (done.stdout, done.stderr) == ("front.svg\n", "")


def test_several_runs_come_in_one_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        put(tmp_path / name, {"name": "same"})
    assert main(["plot", "one", "two"]) == 0
    assert capsys.readouterr().out == "fronts.html\n"
    page = (tmp_path / "fronts.html").read_text()
    assert "one · two" in page
    assert "one: Commands and expectations are missing here" in page  # a summary alone is no run directory


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["one", "loss"], "'accuracy' (one) and 'loss' (loss), which cannot share an axis; plot runs of one metric"),
        (["one", "none"], "'none' holds no summary.json"),
        (["one", "one/../one"], "the run 'one' was given twice; give each once"),
        (["one", "two", "--out", "x.svg"], "several runs share a page, not a picture; give a name that ends in .html or .htm"),
        (["one"] * 51, "51 runs were given; a page holds at most 50"),
    ],
    ids=["metrics", "missing", "twice", "picture", "many"],
)
def test_runs_that_cannot_be_drawn_together_are_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "one", {})
    put(tmp_path / "two", {})
    put(tmp_path / "loss", {"metric": "loss"})
    assert main(["plot", *arguments]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert not list(tmp_path.glob("*.html"))
