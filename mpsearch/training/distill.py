"""`distilled`: knowledge distillation, a loss on targets and on a teacher's outputs."""

from __future__ import annotations

from torch import Tensor

from mpsearch.tasks.task import Criterion
from mpsearch.training.recipe import Recipe

__all__ = ["distilled"]


def distilled(loss: Criterion, divergence: Criterion, outputs: Tensor, targets: Tensor, reference: Tensor, recipe: Recipe) -> Tensor:
    """`(1 − d) · loss(outputs, targets) + d · T² · mean divergence(reference/T, outputs/T)` with d and T of the recipe, `[]`.

    Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, arXiv 1503.02531, section 2. At d = 1 no label is used.

    Args:
        loss: `(outputs, targets) → []`.
        divergence: `(reference outputs, outputs) → [N]` in nats.
        outputs: outputs of the student.
        targets: labels.
        reference: outputs of the teacher; they get no gradient.
        recipe: has d (`distill`) and T (`temperature`).
    """
    t = recipe.temperature
    imitation = t * t * divergence(reference.detach().float() / t, outputs.float() / t).mean()
    return imitation if recipe.distill == 1 else (1 - recipe.distill) * loss(outputs, targets) + recipe.distill * imitation
