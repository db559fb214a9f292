"""Points of a run that has ended, against the truth of made-up networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mpsearch.core.budget import Budget
from mpsearch.core.errors import BudgetError, UsageError
from mpsearch.core.summary import Reference
from mpsearch.run.finished_run import Finished
from mpsearch.run.pick import Picker
from tests.propose.worlds import World
from tests.run.worlds import finished_world, score


@pytest.fixture(scope="module", params=range(2))
def ended(request: pytest.FixtureRequest) -> tuple[World, Finished]:
    world = World(request.param, groups=5)
    return world, finished_world(world, Path("runs/world"))


def within(finished: Finished, limit: float) -> float:
    point = Picker(finished).within([Budget("size", limit, f"{limit:.0f}B")])
    assert point.costs["size"] <= limit
    return point.error


def smallest(world: World, error: float) -> float:
    """The true smallest size of an error."""
    return min(size for picks, size in world.sizes.items() if score(world.losses[picks]).error <= error)


def test_the_budget_of_the_run_gives_its_winner(ended: tuple[World, Finished]) -> None:
    world, finished = ended
    point = Picker(finished).within(world.budgets)
    assert (point.name, point.basis, point.allocation) == ("winner", "retrained", finished.summary.winner.allocation)
    assert point.metric == finished.summary.winner.score.metric
    assert point.interval is None


@pytest.mark.parametrize("factor", [0.75, 0.9, 1.2])
def test_a_point_within_another_budget_is_nearly_the_best_there_is(ended: tuple[World, Finished], factor: float) -> None:
    world, finished = ended
    limit = float(int(factor * world.limit))
    point = Picker(finished).within([Budget("size", limit, "b")])
    truly_best = min(world.losses[picks] for picks, size in world.sizes.items() if size <= limit)
    assert point.costs["size"] <= limit
    assert world.loss(point.allocation) <= 1.15 * truly_best


def test_predictions_hold_the_truth_and_say_what_they_are(ended: tuple[World, Finished]) -> None:
    world, finished = ended
    few = replace(finished, summary=replace(finished.summary, trials=finished.summary.trials[:8]))
    held = []
    for factor in (0.72, 0.76, 0.8, 0.85, 0.92, 1.12, 1.2, 1.28):
        point = Picker(few).within([Budget("size", factor * world.limit, "b")])
        if point.basis == "predicted":
            assert point.interval is not None
            assert point.interval[0] <= point.metric <= point.interval[1]
            assert point.file is None
            held.append(point.interval[0] <= score(world.loss(point.allocation)).metric <= point.interval[1])
    assert len(held) >= 2
    assert sum(held) >= 0.6 * len(held)


def test_an_extrapolation_is_called_one(ended: tuple[World, Finished]) -> None:
    world, finished = ended
    point = Picker(finished).within([Budget("size", 2 * world.limit, "b")])
    assert point.basis == "predicted"
    assert "so this is an extrapolation" in point.notes[0]


def test_more_budget_is_never_worse(ended: tuple[World, Finished]) -> None:
    world, finished = ended
    errors = [within(finished, factor * world.limit) for factor in (0.6, 0.8, 1.0, 1.3)]
    assert errors[1] <= errors[0] + 0.01
    assert errors[2] <= errors[1] + 0.01
    assert errors[2] == score(finished.summary.winner.score.loss).error


def test_keeping_gives_the_smallest_measured_point_that_is_good_enough(ended: tuple[World, Finished]) -> None:
    world, finished = ended
    for drop in (5, 15, 30):
        error = Picker(finished).error_within(drop=drop)
        point = Picker(finished).keeping(error)
        assert point.error <= error
        if point.basis == "predicted":
            assert point.costs["size"] <= 1.25 * smallest(world, error)
        else:
            assert not [other for other in finished.measured if other.error <= error and other.costs["size"] < point.costs["size"]]


def test_what_is_expected_to_be_smaller_is_a_note(ended: tuple[World, Finished]) -> None:
    _, finished = ended
    few = replace(finished, summary=replace(finished.summary, trials=finished.summary.trials[:6]))
    points = [Picker(few).keeping(Picker(few).error_within(drop=drop)) for drop in (10, 20, 30, 40)]
    noted = [point for point in points if point.basis != "predicted" and any("expected to be enough" in note for note in point.notes)]
    assert noted or any(point.basis == "predicted" for point in points)


def test_share_and_drop_are_of_the_float_metric(ended: tuple[World, Finished]) -> None:
    finished = ended[1]
    reference = finished.summary.reference.scores["validation"]
    assert Picker(finished).error_within(share=1.0) == pytest.approx(reference.error)
    assert Picker(finished).error_within(share=0.99) == pytest.approx(reference.error + 0.01 * reference.metric)
    assert Picker(finished).error_within(drop=0.5) == pytest.approx(reference.error + 0.005)
    none = replace(finished, summary=replace(finished.summary, reference=Reference(scores={"validation": score(0.2)}, costs={"size": 1.0})))
    none.summary.reference.scores["validation"].__dict__["metric"] = 0.0
    with pytest.raises(UsageError, match="of 0 says nothing; ask by --max-drop"):
        Picker(none).error_within(share=0.99)


def test_what_cannot_be_kept_is_refused_with_a_cure(ended: tuple[World, Finished]) -> None:
    finished = ended[1]
    with pytest.raises(
        UsageError, match=r"no point of runs/world has a validation accuracy of .*; let trials train \(--effort normal\), widen"
    ):
        Picker(finished).keeping(-0.5)


def test_the_knee_lies_on_the_front_between_its_ends(ended: tuple[World, Finished]) -> None:
    world, finished = ended
    point = Picker(finished).knee()
    sizes = [other.costs["size"] for other in finished.measured]
    assert min(sizes) <= point.costs["size"] <= max(sizes)
    best = min(world.losses[picks] for picks, size in world.sizes.items() if size <= point.costs["size"])
    assert world.loss(point.allocation) <= 1.15 * best


def test_a_trial_by_its_number(ended: tuple[World, Finished]) -> None:
    finished = ended[1]
    record = finished.summary.trials[3]
    assert Picker(finished).trial(3).allocation == record.allocation
    with pytest.raises(UsageError, match="has no finished trial 99; its trials are 0 to 13"):
        Picker(finished).trial(99)


def test_wrong_budgets_are_refused(ended: tuple[World, Finished]) -> None:
    finished = ended[1]
    with pytest.raises(BudgetError, match="did not count the cost 'latency'; it counted size"):
        Picker(finished).within([Budget("latency", 1.0, "1s")])
    with pytest.raises(BudgetError, match="did not count the cost 'latency'"):
        Picker(finished).knee("latency")
    with pytest.raises(BudgetError, match="below the smallest size"):
        Picker(finished).within([Budget("size", 5.0, "5B")])


def test_a_run_of_one_allocation_has_no_front_but_its_network() -> None:
    finished = finished_world(World(0, groups=4), Path("runs/one"), trials=0)
    assert Picker(finished).within([Budget("size", 1e6, "1MB")]).name == "winner"
    with pytest.raises(BudgetError, match="run of one allocation, which does not meet 9B"):
        Picker(finished).within([Budget("size", 9.0, "9B")])
    with pytest.raises(UsageError, match="has no front"):
        Picker(finished).knee()
