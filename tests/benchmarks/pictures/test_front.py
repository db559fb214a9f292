"""The first picture of README: its numbers agree with the results beside them, and every trial is drawn once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.pictures import front
from benchmarks.pictures.front import RESULTS, draw, kept
from tests.report.summaries import make_summary

RUNS = Path(__file__).parents[3] / "docs" / "results" / "digits_resnet18.json"


def test_the_run_is_the_one_of_the_results() -> None:
    run = json.loads(RESULTS.read_text())
    (beside,) = (each for each in json.loads(RUNS.read_text()) if each["seed"] == 4)
    assert run["command"].endswith("--seed 4")
    assert run["winner"]["size"] == beside["results"]["winner"]["size"] <= run["budget"]
    assert run["uniform"]["size"] == beside["results"]["uniform"]["size"]
    assert all(trial["feasible"] is (trial["size"] <= run["budget"]) for trial in run["trials"])


def test_every_trial_is_one_mark_and_the_line_is_the_front() -> None:
    run = json.loads(RESULTS.read_text())
    (axes,) = draw().axes
    marks = sorted(tuple(point) for collection in axes.collections for point in np.asarray(collection.get_offsets()).tolist())
    assert marks == sorted((point["size"], point["accuracy"]) for point in [*run["trials"], run["uniform"], run["winner"]])
    (line,) = (line for line in axes.lines if line.get_drawstyle() == "steps-post")
    corners = np.column_stack([line.get_xdata(), line.get_ydata()]).tolist()[:-1]
    assert len(corners) > 1
    assert corners == sorted(corners)
    for size, accuracy in corners:
        assert not any(t["size"] <= size and t["accuracy"] > accuracy for t in run["trials"])


def test_the_numbers_of_a_run_directory_are_drawn_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = make_summary()
    (tmp_path / "summary.json").write_text(json.dumps(summary.to_dict()))
    numbers = kept(tmp_path)
    assert len(numbers["trials"]) == 19
    assert numbers["winner"]["size"] == summary.winner.costs["size"]
    (tmp_path / "front.json").write_text(json.dumps(numbers))
    monkeypatch.setattr(front, "RESULTS", tmp_path / "front.json")
    assert sum(len(np.asarray(collection.get_offsets())) for collection in draw().axes[0].collections) == 21
