from __future__ import annotations

from dataclasses import replace

from mpsearch.report.info import curves_info, history_info
from tests.report.summaries import make_summary, make_trial


def test_best_so_far_counts_feasible_trials_only() -> None:
    trials = (
        make_trial(2, size=1, metric=0.7),
        make_trial(0, size=1, metric=0.5),
        replace(make_trial(1, size=1, metric=0.9), feasible=False),
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


def test_curves_of_all_that_was_retrained() -> None:
    summary = make_summary()
    info = curves_info(summary)
    assert [curve.name for curve in info.curves] == ["winner", "uniform", "control"]
    assert info.curves[0].epochs == tuple(float(epoch) for epoch in range(1, 11))
    assert summary.winner is not None
    assert info.curves[0].metric[-1] == summary.winner.score.metric
    assert info.missing == ()


def test_missing_curves_are_named() -> None:
    summary = make_summary()
    assert summary.winner is not None
    info = curves_info(replace(summary, uniform=None, control=None))
    assert len(info.missing) == 2
    nothing = curves_info(replace(summary, winner=replace(summary.winner, curve=()), uniform=None, control=None))
    assert nothing.curves == ()
    assert nothing.empty


def test_an_epoch_without_a_measurement_leaves_a_gap() -> None:
    summary = make_summary()
    assert summary.winner is not None
    curve = ({"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.4, "metric": 0.8})
    info = curves_info(replace(summary, winner=replace(summary.winner, curve=curve)))
    assert info.curves[0].metric[0] != info.curves[0].metric[0]
    assert info.curves[0].metric[1] == 0.8
