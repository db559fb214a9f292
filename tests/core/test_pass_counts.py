"""Counters: phases, nesting, silence where nobody listens, and what survives an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpsearch.core.pass_counts import Count, LabelReader, PassCounts, active_counts, count, phase
from mpsearch.run.directory import Clock


def test_nobody_listening() -> None:
    count(forward=3)
    with phase("study"):
        assert active_counts() is None


def test_samples_go_to_the_innermost_phase() -> None:
    tally = PassCounts()
    with tally.listening("rest"):
        count(forward=1)
        with phase("study"):
            count(forward=10, backward=5, labels=5)
            with phase("calibration"):
                count(forward=100)
            count(scored=7)
        count(forward=2)
    count(forward=1000)
    assert tally.counts == {"rest": Count(forward=3), "study": Count(10, 5, 5, 7), "calibration": Count(forward=100)}
    assert tally["never"] == Count()
    assert active_counts() is None


def test_phase_decorates() -> None:
    @phase("float network")
    def work() -> None:
        count(backward=4)

    tally = PassCounts()
    with tally.listening("rest"):
        work()
        work()
    assert tally.to_dict() == {"float network": {"forward": 0, "backward": 8, "labels": 0, "scored": 0}}


def test_an_exception_ends_the_phase() -> None:
    tally = PassCounts()
    with tally.listening("rest"):
        with pytest.raises(KeyError), phase("study"):
            raise KeyError
        count(forward=1)
    assert tally.counts == {"rest": Count(forward=1)}


def test_label_reader_counts_each_label_it_reads() -> None:
    tally = PassCounts()
    loss = LabelReader(lambda outputs, targets: outputs + sum(targets))
    with tally.listening("study"):
        assert loss(1, [2, 3]) == 6
        assert loss(0, [4]) == 4
    assert loss.read == tally["study"].labels == 3


def test_counts_are_kept_in_the_run_directory_and_summed(tmp_path: Path) -> None:
    for _ in range(2):
        file = tmp_path / "tally.json"
        tally = PassCounts(json.loads(file.read_text()) if file.exists() else None)
        with tally.listening("preparation"), pytest.raises(KeyboardInterrupt):
            _interrupted(Clock(tmp_path))
    assert PassCounts(json.loads((tmp_path / "tally.json").read_text()))["study"].forward == 42
    assert set(json.loads((tmp_path / "seconds.json").read_text())) == {"study"}


def _interrupted(clock: Clock) -> None:
    with clock("study"):
        count(forward=21)
        raise KeyboardInterrupt


def test_a_long_phase_is_saved_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed run runs no `finally`."""
    now = [0.0]
    monkeypatch.setattr("mpsearch.core.pass_counts.time.monotonic", lambda: now[0])
    tally, saved = PassCounts(), []
    tally.save = lambda tally: saved.append(tally["study"].forward)
    with tally.listening("study"):
        for _ in range(20):
            now[0] += 1
            count(forward=1)
    assert saved == [6, 12, 18]
