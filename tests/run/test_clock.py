"""Seconds and passes of a run are summed over its interruptions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpsearch.core.pass_counts import count
from mpsearch.run.clock import Clock, read_passes


def test_counts_are_kept_in_the_run_directory_and_summed(tmp_path: Path) -> None:
    for _ in range(2):
        with read_passes(tmp_path).listening("preparation"), pytest.raises(KeyboardInterrupt):
            _interrupted(Clock(tmp_path))
    assert read_passes(tmp_path)["study"].forward == 42
    assert set(json.loads((tmp_path / "seconds.json").read_text())) == {"study"}


def test_seconds_of_a_phase_grow_with_every_visit(tmp_path: Path) -> None:
    (tmp_path / "seconds.json").write_text(json.dumps({"study": 100.0, "test": 7.0}))
    clock = Clock(tmp_path)
    with clock("study"):
        pass
    held = json.loads((tmp_path / "seconds.json").read_text())
    assert held == clock.seconds
    assert held["study"] >= 100
    assert held["test"] == 7


def test_a_clock_without_active_counts_measures_time_alone(tmp_path: Path) -> None:
    with Clock(tmp_path)("study"):
        count(forward=3)
    assert [entry.name for entry in tmp_path.iterdir()] == ["seconds.json"]


def _interrupted(clock: Clock) -> None:
    with clock("study"):
        count(forward=21)
        raise KeyboardInterrupt
