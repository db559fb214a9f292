"""Trials whose first score comes from shared weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mpsearch.core.choice import Choice
from mpsearch.core.record import Trial
from mpsearch.methods.lsq import Lsq
from mpsearch.training.checkpoint import Checkpoint
from mpsearch.training.compiled import Compiler
from mpsearch.training.recipe import Recipe
from mpsearch.training.supernet import SupernetRecipe
from mpsearch.trials.climb import Hyperparameters, Rung, evaluate_trial
from mpsearch.trials.problem import Problem
from mpsearch.trials.supernet import SupernetEvaluator
from tests.problems import small_problem

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=2, batch_size=32, lr=0.05, distill=0.5, precision="float32", reestimate=64)
HYPER = Hyperparameters(method=Lsq(), recipe=RECIPE, params={"method": "lsq"})


def problem() -> Problem:
    return small_problem(epochs=10)


def evaluator(**options: Any) -> SupernetEvaluator:
    return SupernetEvaluator(problem(), Compiler("off", CPU), SupernetRecipe(recipe=RECIPE, images=64), HYPER.method, **options)


def uniform(bits: int) -> Trial:
    return Trial(number=0, origin="", allocation=problem().space.uniform(Choice(bits)))


def test_a_trial_climbs_from_shared_weights_to_training_from_float() -> None:
    rungs = (Rung(name="supernet", epochs=0), Rung(name="short", epochs=1), Rung(name="long", epochs=2))
    scored = evaluator()
    record = evaluate_trial(scored, rungs, HYPER, (), uniform(2), lambda: HYPER, seed=1)
    assert list(record.scores) == ["supernet", "short", "long"]
    assert record.scores["supernet"] == scored.untrained(record.allocation, HYPER.method, RECIPE)
    plain = evaluate_trial(super_of(scored), rungs[1:], HYPER, (), uniform(2), lambda: HYPER, seed=1)
    assert record.scores["long"] == plain.scores["long"], "trained as any trial is, whatever was scored before"


def super_of(scored: SupernetEvaluator) -> Any:
    from mpsearch.trials.evaluator import Evaluator

    return Evaluator(scored.problem, Compiler("off", CPU))


def test_the_method_of_a_trial_does_not_matter_and_its_calibration_is_its_own() -> None:
    scored = evaluator()
    allocation = uniform(2).allocation
    first = scored.untrained(allocation, HYPER.method, RECIPE)
    network = scored.begin(allocation, HYPER.method)
    assert scored.ptq(network, HYPER.method, RECIPE) == super_of(scored).untrained(allocation, HYPER.method, RECIPE)
    assert scored.untrained(allocation, Lsq(grid="half"), RECIPE) == first


def test_trained_once_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allocation, kept = uniform(1).allocation, Checkpoint(tmp_path / "supernet.checkpoint")
    first = evaluator(checkpoint=kept)
    assert not kept.path.exists(), "not before it is asked for"
    score = first.untrained(allocation, HYPER.method, RECIPE)
    assert first.prepare() is first.prepare()
    monkeypatch.setattr(torch.optim.SGD, "step", None)
    assert evaluator(checkpoint=kept).untrained(allocation, HYPER.method, RECIPE) == score
