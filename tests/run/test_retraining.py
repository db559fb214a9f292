"""The record of a retraining: what the allocation costs as its method stores it, and how it scored before and after."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from mpsearch.core.choice import Choice
from mpsearch.core.progress import Silent
from mpsearch.core.record import Score, Trial
from mpsearch.network.baked import bake
from mpsearch.run.ledger import Ledger
from mpsearch.run.retraining import Retraining, float_bytes, retrain_allocation, retrain_float
from mpsearch.training.compiled import Compiler
from mpsearch.trials.evaluator import Evaluator, with_epochs
from tests.problems import small_problem, small_settings


def retraining(directory: Path, epochs: int) -> Retraining:
    problem, hyper = small_problem(), small_settings(1).default
    return Retraining(
        evaluator=Evaluator(problem, Compiler("off", problem.device)),
        hyper=replace(hyper, recipe=with_epochs(hyper.recipe, epochs)),
        split=problem.train,
        seed=1,
        ledger=Ledger(directory),
        progress=Silent(),
    )


def test_without_epochs_the_calibrated_network_is_the_result(tmp_path: Path) -> None:
    settings, earlier = retraining(tmp_path, 0), Score(loss=1.0, error=0.5, metric=0.5)
    evaluator, hyper = settings.evaluator, settings.hyper
    allocation = small_problem().space.uniform(Choice(2))
    record, parts = retrain_allocation(settings, "winner", Trial(number=3, origin="ei", allocation=allocation, scores={"ptq": earlier}))
    assert record.scores == {"ptq": earlier, "full": evaluator.untrained(allocation, hyper.method, hyper.recipe)}
    assert (record.number, record.origin, record.allocation, record.curve) == (3, "ei", allocation, ())
    assert record.costs == small_problem().amounts(allocation, hyper.method)
    assert parts.allocation == bake(evaluator.begin(allocation, hyper.method)).allocation


def test_every_training_has_its_own_checkpoint_and_curve(tmp_path: Path) -> None:
    settings = retraining(tmp_path, 2)
    record, _ = retrain_allocation(settings, "winner", Trial(number=0, origin="ei", allocation=small_problem().space.uniform(Choice(4))))
    control, _ = retrain_float(settings)
    assert [len(found.curve) for found in (record, control)] == [2, 2]
    assert control.costs["size"] == float_bytes(small_problem().model)
    assert {file.name for file in tmp_path.iterdir()} <= {"winner.checkpoint", "control.checkpoint"}


def test_float_bytes_leave_out_the_counter_of_batchnorm() -> None:
    assert float_bytes(nn.BatchNorm1d(4)) == 4 * 4 * 4
