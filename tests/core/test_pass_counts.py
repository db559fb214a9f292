"""Counts by phase: nesting, and nothing where no counts are active."""

from __future__ import annotations

import numpy as np
import pytest

from mpsearch.core.pass_counts import Count, LabelReader, PassCounts, active_counts, count, phase


def test_without_active_counts_nothing_happens() -> None:
    count(forward=3)
    with phase("study"):
        assert active_counts() is None


def test_samples_go_to_the_innermost_phase() -> None:
    passes = PassCounts()
    with passes.listening("rest"):
        count(forward=1)
        with phase("study"):
            count(forward=10, backward=5, labels=5)
            with phase("calibration"):
                count(forward=100)
            count(scored=7)
        count(forward=2)
    count(forward=1000)
    assert passes.counts == {"rest": Count(forward=3), "study": Count(10, 5, 5, 7), "calibration": Count(forward=100)}
    assert passes["never"] == Count()
    assert active_counts() is None


def test_phase_decorates() -> None:
    @phase("float network")
    def work() -> None:
        count(backward=4)

    passes = PassCounts()
    with passes.listening("rest"):
        work()
        work()
    assert passes.to_dict() == {"float network": {"forward": 0, "backward": 8, "labels": 0, "scored": 0}}


def test_an_exception_ends_the_phase() -> None:
    passes = PassCounts()
    with passes.listening("rest"):
        with pytest.raises(KeyError), phase("study"):
            raise KeyError
        count(forward=1)
    assert passes.counts == {"rest": Count(forward=1)}


def test_label_reader_counts_each_label_it_reads() -> None:
    passes = PassCounts()
    loss = LabelReader(lambda outputs, targets: outputs + sum(targets))
    with passes.listening("study"):
        assert loss(1, np.array([2, 3])) == 6
        assert loss(0, np.array([4])) == 4
    assert loss.read == passes["study"].labels == 3


def test_targets_of_several_outputs_count_once_a_sample() -> None:
    loss = LabelReader(lambda outputs, targets: 0)
    loss(0, (np.zeros((5, 2)), {"more": np.zeros((5, 7))}))
    assert loss.read == 5


def test_a_long_phase_is_saved_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed run runs no `finally`."""
    now = [0.0]
    monkeypatch.setattr("mpsearch.core.pass_counts.time.monotonic", lambda: now[0])
    passes, saved = PassCounts(), []
    passes.save = lambda passes: saved.append(passes["study"].forward)
    with passes.listening("study"):
        for _ in range(20):
            now[0] += 1
            count(forward=1)
    assert saved == [6, 12, 18]
