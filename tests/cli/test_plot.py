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
