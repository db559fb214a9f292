"""T9: the same bits on another checkpoint."""

from __future__ import annotations

from dataclasses import replace

import torch

from mpsearch.card.inputs import CardInputs
from mpsearch.card.recheckpoint import recheckpointed
from mpsearch.card.variants import Bench, Variant
from mpsearch.network.calibrate import Calibration
from mpsearch.training.evaluate import evaluate
from tests.card.runs import CALIBRATED, uniform
from tests.networks import Depthwise, trained_statistics


def test_without_a_second_checkpoint_it_says_how_to_name_one(images: CardInputs) -> None:
    flip = recheckpointed(images, Bench(images.problem, "twos", CALIBRATED), uniform(images, 3, 4))
    assert (flip.status, flip.metric_change) == ("not run", "n/a")
    assert "set model.other_weights" in flip.note


def test_the_same_checkpoint_changes_nothing(images: CardInputs) -> None:
    bench = Bench(images.problem, "twos", CALIBRATED)
    same = recheckpointed(replace(images, other=images.problem), bench, uniform(images, 3, 4))
    assert (same.status, same.metric_change) == ("measured", 0)


def test_another_checkpoint_is_calibrated_anew(images: CardInputs) -> None:
    allocation, problem = uniform(images, 3, 4), images.problem
    torch.manual_seed(1)
    model = trained_statistics(Depthwise())
    ranges = Calibration.fit(model, problem.space, [inputs for inputs, _ in problem.train.take(64, problem.seed).batches(64)])
    other = replace(problem, model=model, calibration=ranges)
    flip = recheckpointed(replace(images, other=other), Bench(problem, "twos", CALIBRATED), allocation)
    scores = [Bench(each, "twos", CALIBRATED).score(Variant(allocation=allocation)).metric for each in (problem, other)]
    assert flip.metric_change == scores[1] - scores[0]
    own, theirs = (evaluate(each, problem.validation, problem.task, device=problem.device).metric for each in (problem.model, model))
    assert flip.note == f"accuracy before quantization: {theirs:.4f}, against {own:.4f} of the run's own checkpoint"
