from __future__ import annotations

from dataclasses import replace

from mpsearch.core.record import Record
from mpsearch.core.summary import Summary
from mpsearch.costs.budgets import parse_budget
from mpsearch.report.info import front_costs, front_info
from tests.report.summaries import make_summary, make_trial


def _with_trials(*trials: Record) -> Summary:
    return replace(make_summary(), trials=trials, uniform=None)


def test_front_is_what_no_trial_beats_in_size_and_error() -> None:
    summary = _with_trials(
        make_trial(0, size=100, metric=0.5),
        make_trial(1, size=200, metric=0.7),
        make_trial(2, size=250, metric=0.6),
        make_trial(3, size=300, metric=0.9),
    )
    info = front_info(summary)
    assert [p.number for p in info.front] == [0, 1, 3]
    assert [p.number for p in info.points] == [0, 1, 2, 3]
    assert [(p.amount, p.metric) for p in info.front] == [(100, 0.5), (200, 0.7), (300, 0.9)]


def test_failed_trials_are_left_out() -> None:
    failed = replace(make_trial(0, size=10, metric=0.99), status="failed")
    unscored = replace(make_trial(1, size=10, metric=0.99), status="failed", rung="", scores={})
    info = front_info(_with_trials(failed, unscored, make_trial(2, size=20, metric=0.5)))
    assert [p.number for p in info.points] == [2]


def test_references_and_budget_of_a_real_looking_run() -> None:
    summary = make_summary()
    info = front_info(summary)
    assert info.float_metric == 0.8934
    assert info.budget == parse_budget("80KB")
    assert info.rungs == ("ptq", "short", "long")
    assert len(info.points) == 19
    assert info.winner.amount == summary.winner.costs["size"]
    assert not info.log_axis


def test_one_picture_for_size_and_one_for_every_other_budgeted_cost() -> None:
    summary = replace(make_summary(), budgets=(parse_budget("2.2bit"), parse_budget("80KB")))
    assert front_costs(summary) == ("size", "bits")
    info = front_info(summary, cost="bits")
    assert info.budget == parse_budget("2.2bit")
    assert all(1 <= p.amount <= 8 for p in info.points)


def test_axis_is_logarithmic_from_a_factor_of_eight() -> None:
    winner = make_summary().winner.costs["size"]
    for largest, log in ((7.9, False), (8.1, True)):
        trials = make_trial(0, size=winner, metric=0.5), make_trial(1, size=largest * winner, metric=0.6)
        info = front_info(replace(_with_trials(*trials), budgets=(parse_budget("2bit"),)))
        assert info.span == (winner, largest * winner)
        assert info.log_axis is log


def test_without_a_trial_the_winner_is_there() -> None:
    info = front_info(_with_trials(replace(make_trial(0, size=1, metric=0.5), status="failed")))
    assert info.points == info.front == ()
    assert info.finding.endswith("0 trials, 0 on the front.")


def test_close_up_leaves_out_what_would_squeeze_the_trained_trials() -> None:
    untrained = make_trial(0, size=100, metric=0.10, rung="ptq")
    trained = [make_trial(number, size=100 * number, metric=0.86 + 0.01 * number, rung="short") for number in (1, 2, 3)]
    info = front_info(_with_trials(untrained, *trained))
    assert info.hidden == 1
    assert 0.8 < info.view[0] < 0.87
    assert info.view[1] > 0.8934
    everything = front_info(_with_trials(*trained))
    assert everything.hidden == 0


def test_a_winner_that_was_only_calibrated_is_not_called_retrained() -> None:
    summary = make_summary()
    assert front_info(summary).finding.startswith("The retrained winner: ")
    for winner in (replace(summary.winner, curve=()), replace(summary.winner, note="the calibrated network is delivered")):
        assert front_info(replace(summary, winner=winner)).finding.startswith("The winner, calibrated only: ")
