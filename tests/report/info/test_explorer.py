from __future__ import annotations

from dataclasses import replace

import pytest

from mpsearch.core.errors import UsageError
from mpsearch.core.record import pareto_front
from mpsearch.core.summary import PointOfFront
from mpsearch.report.info.explorer import ShownRun, check_metrics, explorer_info
from tests.report.summaries import make_summary, make_trial

SUMMARY = make_summary()


def test_every_scored_trial_and_all_that_was_retrained_is_a_mark() -> None:
    point = PointOfFront(name="1-60KB", record=SUMMARY.winner, artifact="model.safetensors", artifact_bytes=60_000, digest="")
    info = explorer_info([ShownRun(name="run", summary=replace(SUMMARY, front=(point,), searched=SUMMARY.uniform))])
    trials = [f"trial {record.number}" for record in SUMMARY.trials if record.status == "complete"]
    assert [mark.name for mark in info.marks] == [*trials, "best uniform", "search's own", "front/1-60KB", "winner"]
    assert len({mark.id for mark in info.marks}) == len(info.marks)
    tests = {mark.name: mark.test for mark in info.marks if mark.test is not None}
    assert tests == {"best uniform": SUMMARY.test["uniform"], "winner": SUMMARY.test["winner"]}
    assert info.first == "0:winner"


def test_fronts_are_those_of_each_run_and_cost() -> None:
    others = make_summary(seed=1)
    info = explorer_info([ShownRun(name="a", summary=SUMMARY), ShownRun(name="b", summary=others)])
    assert [axis.name for axis in info.axes] == ["size", "bits"]
    for axis in info.axes:
        for place, summary in enumerate((SUMMARY, others)):
            best = pareto_front(summary.trials, cost=axis.name)
            assert axis.fronts[place] == tuple(f"{place}:trial {record.number}" for record in best)
            assert axis.low < min(record.costs[axis.name] for record in best)


def test_the_knee_is_where_the_front_bends() -> None:
    steps = ((100.0, 0.2), (110.0, 0.8), (400.0, 0.81), (800.0, 0.82))
    trials = tuple(make_trial(number, size=size, metric=metric) for number, (size, metric) in enumerate(steps))
    (axis,) = explorer_info([ShownRun(name="a", summary=replace(SUMMARY, trials=trials))]).axes
    assert axis.knees == ("0:trial 1",)
    (axis,) = explorer_info([ShownRun(name="a", summary=replace(SUMMARY, trials=trials[:2]))]).axes
    assert axis.knees == (None,)
    same = tuple(replace(trial, number=number) for number, trial in enumerate(trials[:1] * 5))
    (axis,) = explorer_info([ShownRun(name="a", summary=replace(SUMMARY, trials=same))]).axes
    assert axis.knees == (None,)


def test_a_wide_range_of_sizes_gets_a_logarithmic_axis() -> None:
    trials = (make_trial(0, size=1_000, metric=0.5), make_trial(1, size=1_000_000, metric=0.9))
    (axis,) = explorer_info([ShownRun(name="a", summary=replace(SUMMARY, trials=trials))]).axes
    assert axis.log
    assert 0 < axis.low < 1_000 < 1_000_000 < axis.high


def test_long_studies_of_deep_networks_keep_their_front() -> None:
    trials = tuple(make_trial(number, size=90_000 - number, metric=0.5 - 1e-5 * number) for number in range(3_000))
    (axis,) = (info := explorer_info([ShownRun(name="a", summary=replace(SUMMARY, trials=trials))])).axes
    drawn = {mark.id for mark in info.marks}
    assert len(drawn) < 2_100
    assert set(axis.fronts[0]) <= drawn
    assert len(axis.fronts[0]) >= 1_000


def test_different_metrics_are_refused() -> None:
    check_metrics(["a", "b"], ["r2", "r2"])
    with pytest.raises(UsageError, match=r"'accuracy' \(a\) and 'r2' \(b\), which cannot share an axis"):
        check_metrics(["a", "b", "c"], ["accuracy", "r2", "r2"])
    with pytest.raises(UsageError, match="cannot share an axis"):
        explorer_info([ShownRun(name="a", summary=SUMMARY), ShownRun(name="b", summary=replace(SUMMARY, metric="r2"))])
