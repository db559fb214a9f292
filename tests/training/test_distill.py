from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mpsearch.tasks.task import Task
from mpsearch.training.distill import distilled
from mpsearch.training.recipe import Recipe

TASK = Task.classification()


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(6, 4, generator=generator, requires_grad=True)
    reference = torch.randn(6, 4, generator=generator, requires_grad=True)
    return outputs, torch.randint(4, (6,), generator=generator), reference


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_formula(share: float, temperature: float) -> None:
    outputs, targets, reference = batch()
    t = temperature
    imitation = F.kl_div((outputs / t).log_softmax(-1), (reference / t).softmax(-1), reduction="batchmean")
    wanted = (1 - share) * F.cross_entropy(outputs, targets) + share * t * t * imitation
    recipe = Recipe(distill=share, temperature=temperature)
    torch.testing.assert_close(distilled(TASK.loss, TASK.divergence, outputs, targets, reference, recipe), wanted)


def test_the_teacher_gets_no_gradient() -> None:
    outputs, targets, reference = batch()
    distilled(TASK.loss, TASK.divergence, outputs, targets, reference, Recipe(distill=0.5)).backward()
    assert reference.grad is None
    assert outputs.grad is not None
    assert outputs.grad.abs().sum() > 0


def test_distillation_alone_uses_no_label() -> None:
    outputs, targets, reference = batch()

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        raise AssertionError("labels were used")

    recipe = Recipe(distill=1.0)
    assert distilled(loss, TASK.divergence, outputs, targets, reference, recipe).isfinite()
    with pytest.raises(AssertionError, match="labels were used"):
        distilled(loss, TASK.divergence, outputs, targets, reference, Recipe(distill=0.5))
