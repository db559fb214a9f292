from __future__ import annotations

from dataclasses import replace

from mpsearch.report.info import history_info
from tests.report.summaries import make_summary, make_trial


def test_best_so_far_counts_feasible_trials_only() -> None:
    trials = (
        make_trial(0, size=1, metric=0.5),
        replace(make_trial(1, size=1, metric=0.9), feasible=False),
        make_trial(2, size=1, metric=0.7),
        make_trial(3, size=1, metric=0.6),
        make_trial(4, size=1, metric=0.8),
        replace(make_trial(5, size=1, metric=0.99), status="failed", note="loss became NaN"),
    )
    info = history_info(replace(make_summary(), trials=trials))
    assert [(p.number, p.metric) for p in info.best] == [(0, 0.5), (2, 0.7), (4, 0.8)]
    assert [p.number for p in info.points] == [0, 1, 2, 3, 4]
    assert info.failed == ((5, "loss became NaN"),)
    assert "trial 4" in info.finding
    assert "1 failed" in info.finding


def test_no_feasible_trial_is_said() -> None:
    info = history_info(replace(make_summary(), trials=(replace(make_trial(0, size=1, metric=0.5), feasible=False),)))
    assert info.best == ()
    assert "None of the 1 trials meets" in info.finding


def test_no_trial_is_said() -> None:
    assert history_info(replace(make_summary(), trials=())).empty == "No trial was run."
    failed = replace(make_trial(0, size=1, metric=0.5), status="failed")
    assert history_info(replace(make_summary(), trials=(failed,))).empty == "All trials failed."
