"""Who goes on from the first rung: what is expected to gain most, no more than asked for; and what had to wait may come again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.record import Record, Score
from mpsearch.propose.observation import Observation, evidence_of, observed, paused, room_above
from mpsearch.study.study import run_trials
from mpsearch.study.study_sampler import bits_sampler
from mpsearch.training.compiled import Compiler
from mpsearch.trials.climb import Rung
from mpsearch.trials.evaluator import Evaluator
from mpsearch.trials.promotion import goes_on, goes_on_by_score
from tests.problems import small_problem, small_settings
from tests.propose.worlds import World, played

KEEP = 0.34


def records(world: World, losses: list[dict[str, float]], seed: int = 0) -> list[Record]:
    """Random allocations inside the budget with given losses by rung."""
    inside = [picks for picks, fits in zip(world.losses, world.inside, strict=True) if fits]
    rows = [inside[i] for i in np.random.default_rng(seed).choice(len(inside), len(losses), replace=False)]
    return [
        Record(
            number=number,
            origin="",
            allocation=world.searcher().indexed.allocation(np.array(row)),
            rung=list(scored)[-1],
            scores={rung: Score(loss=loss, error=0.0, metric=0.0) for rung, loss in scored.items()},
            costs={"size": 1.0},
        )
        for number, (row, scored) in enumerate(zip(rows, losses, strict=True))
    ]


def test_no_more_go_on_than_asked_for_and_who_waited_does() -> None:
    world = World(0)
    first, *others = records(world, [{"ptq": 0.5}, *({"ptq": 2.0 + 0.01 * i} for i in range(6))])
    searcher = world.searcher()
    assert goes_on(first, [], KEEP, searcher)
    first = replace(first, scores={**first.scores, "short": Score(loss=0.4, error=0.0, metric=0.0)})
    assert not goes_on(others[0], [first], KEEP, searcher), "one of two is more than a third"
    assert goes_on(replace(others[0], number=9), [first, others[0]], KEEP, searcher), "it comes again"
    assert not goes_on(others[0], [first, replace(others[1], status="failed"), others[2]], KEEP, searcher), "a failure had gone on"
    better = replace(others[0], scores={"ptq": Score(loss=0.1, error=0.0, metric=0.0)})
    assert not goes_on(better, [first], KEEP, searcher), "nor is it where it is expected to be the best"
    assert goes_on(better, [first, *others[1:3]], KEEP, searcher), "it is, and there is room"


def test_a_trial_without_rivals_counts_in_the_share_of_all() -> None:
    world = World(0)
    first, *others, alone = records(world, [{"ptq": 0.5, "short": 0.4}, {"ptq": 0.8}, {"ptq": 0.9}, {"ptq": 0.7}])
    alone = replace(alone, costs={"size": 0.5})
    assert not goes_on(alone, [first], KEEP, world.searcher())
    assert goes_on(alone, [first, *others], KEEP, world.searcher())


def test_of_those_that_wait_the_most_promising_goes_on() -> None:
    world = World(1)
    losses = [{"ptq": 0.5, "short": 0.4}, {"ptq": 0.8}, {"ptq": 0.81}, {"ptq": 0.4}]
    *rivals, good = records(world, losses)
    bad = replace(good, scores={"ptq": Score(loss=3.0, error=0.0, metric=0.0)})
    assert goes_on(good, rivals, KEEP, world.searcher())
    assert not goes_on(bad, rivals, KEEP, world.searcher())


def test_what_failed_at_the_first_rung_stands_in_nobodys_way() -> None:
    world = World(1)
    losses = [{"ptq": 0.5, "short": 0.4}, {"ptq": 0.8}, {"ptq": 0.81}, {"ptq": 0.82}]
    searcher, promising = world.searcher(), set()
    *rivals, own = records(world, losses)
    waiting = [*rivals[1:], own]
    improvement, _ = searcher.prospects([observed(r) for r in [*rivals, own]], [r.allocation for r in waiting], [rivals[0].allocation])
    first = waiting[int(improvement.argmax())]
    others = [r for r in [*rivals, own] if r is not first]
    for record in others[1:]:
        stuck = [others[0], *(r for r in others[1:] if r is not record), replace(first, status="failed", scores={})]
        promising.add(goes_on(record, stuck, 1.0, searcher))
    assert True in promising


def test_by_score_the_best_share_goes_on_among_those_that_cost_no_more() -> None:
    world = World(2)
    *rivals, last = records(world, [{"ptq": 0.1}, {"ptq": 0.2}, {"ptq": 0.3}, {"ptq": 0.15}])
    assert goes_on_by_score(last, rivals, 0.5, world.budgets)
    assert not goes_on_by_score(last, rivals, 0.25, world.budgets)
    dearer = [replace(rival, costs={"size": 1.1}) for rival in rivals]
    assert goes_on_by_score(last, dearer, 0.25, world.budgets)


def test_once_the_share_of_all_went_on_only_the_best_of_its_rivals_does() -> None:
    world = World(2)
    first, *_, last = records(world, [{"ptq": 0.1}, {"ptq": 0.2}])
    trained = replace(first, scores={**first.scores, "short": Score(loss=0.1, error=0.0, metric=0.0)})
    assert not goes_on_by_score(last, [trained], 0.5, world.budgets)
    assert not goes_on_by_score(last, [replace(trained, costs={"size": 1.1})], 0.5, world.budgets), "it has no rival, and there is no room"
    assert goes_on_by_score(replace(last, scores={"ptq": Score(loss=0.05, error=0.0, metric=0.0)}), [trained], 0.5, world.budgets)


def test_rivals_are_found_by_the_fullest_budget_whatever_it_limits() -> None:
    world = World(2)
    *rivals, last = records(world, [{"ptq": 0.1}, {"ptq": 0.2}, {"ptq": 0.3}, {"ptq": 0.15}])
    last = replace(last, costs={"size": 50.0, "latency": 0.4})
    slower_but_smaller = [replace(rival, costs={"size": 10.0, "latency": 0.5}) for rival in rivals]
    size, latency = Budget("size", 1000.0, "1KB"), Budget("latency", 0.5, "500ms")
    for budgets in ([latency], [size, latency], [latency, size]):
        assert goes_on_by_score(last, slower_but_smaller, 0.25, budgets)
    assert not goes_on_by_score(last, slower_but_smaller, 0.25, [size])


def test_waiting_is_to_be_proposed_again_only_where_there_is_room() -> None:
    world = World(3)
    found = [observed(record) for record in records(world, [{"ptq": 0.5, "short": 0.4}, *({"ptq": 0.5} for _ in range(5))])]
    waiting = paused(found)
    assert waiting == [observation.allocation for observation in found[1:]]
    assert [room_above(found[:count], KEEP) for count in (1, 2, 3)] == [False, False, True]
    assert paused(found[1:]) == [], "where nothing went on there is no other rung"
    searcher = world.searcher()
    observations = [*(Observation(allocation=o, losses={"ptq": 0.6}) for _, o in optima(world)), *found]
    assert searcher.propose(observations).allocation not in waiting
    tried = {searcher.propose(observations, again=True).allocation}
    everything = [Observation(allocation=a, losses={"ptq": 0.7, "short": 0.6}) for a in all_inside(world) if a not in waiting]
    tried.add(searcher.propose([*everything, *found], again=True).allocation)
    assert tried & set(waiting)


def optima(world: World) -> list[tuple[str, Allocation]]:
    """The first proposals, which need no surrogate."""
    _, proposals = played(world.searcher(), world.loss, 4)
    return [(proposal.origin, proposal.allocation) for proposal in proposals if proposal.origin.startswith("milp:")]


def all_inside(world: World) -> list[Allocation]:
    indexed = world.searcher().indexed
    return [indexed.allocation(np.array(picks)) for picks, fits in zip(world.losses, world.inside, strict=True) if fits]


def test_a_failed_trial_does_not_wait_and_teaches_what_it_measured() -> None:
    world = World(4)
    failed, whole = records(world, [{"ptq": 0.5}, {"ptq": 0.6, "short": 0.4}])
    seen = [observed(replace(failed, status="failed")), observed(whole)]
    assert paused(seen) == []
    assert paused([observed(replace(failed, status="failed", scores={})), observed(whole)]) == [], "it failed at the first rung"
    evidence, rungs = evidence_of(seen, [np.zeros(6, dtype=np.intp)] * 2, 6)
    assert rungs == 2
    assert np.isfinite(evidence.values).all()
    assert len(evidence.values) == 3


def test_a_score_repeated_counts_once() -> None:
    world = World(5)
    (once,) = records(world, [{"ptq": 0.5}])
    again = replace(once, scores={**once.scores, "short": Score(loss=0.4, error=0.0, metric=0.0)})
    evidence, _ = evidence_of([observed(once), observed(again)], [np.zeros(6, dtype=np.intp)] * 2, 6)
    assert evidence.rungs.tolist() == [0, 1]


def test_where_training_turns_the_ranking_over_the_trained_count() -> None:
    cheap, deep = World(6), World(7)
    random = np.random.default_rng(0)
    inside = [picks for picks, fits in zip(cheap.losses, cheap.inside, strict=True) if fits]
    searcher, correlations = cheap.searcher(), []
    rows = [inside[i] for i in random.choice(len(inside), 60, replace=False)]
    for trained in (0, 40):
        seen = [
            Observation(
                allocation=searcher.indexed.allocation(np.array(row)),
                losses={"ptq": cheap.losses[row], **({"short": deep.losses[row]} if number < trained else {})},
            )
            for number, row in enumerate(rows)
        ]
        mean, _ = searcher.surrogate(seen).predict(np.array(inside))
        correlations.append(spearmanr(mean, [deep.losses[row] for row in inside]).statistic)
    assert correlations[1] > max(0.7, correlations[0] + 0.1)


@pytest.mark.parametrize("keep", [0.25, 0.5])
def test_in_a_study_what_waited_comes_again_to_go_on_and_is_scored_once(tmp_path: Path, keep: float) -> None:
    problem = small_problem(epochs=10)
    rungs = (Rung(name="ptq", epochs=0), Rung(name="short", epochs=1, keep=keep))
    settings = replace(small_settings(14), rungs=rungs)
    sampler = bits_sampler(problem, [], (1.0, 1.0), stopping=settings.stopping, refine=0.0, rungs=rungs)
    found = run_trials(Evaluator(problem, Compiler("off", problem.device)), sampler, settings, f"sqlite:///{tmp_path}/study.db")
    went = [record for record in found if len(record.scores) > 1]
    scored = {record.allocation for record in found}
    assert 1 <= len(went) < len(scored)
    for record in found:
        others = [r for r in found if r.allocation == record.allocation]
        assert len({r.scores["ptq"].loss for r in others}) == 1
        assert sum(len(r.scores) > 1 for r in others) >= (len(others) > 1), "twice only to go on"
        assert len(others) <= 2
