"""`distilled`: knowledge distillation, a loss on targets and on a teacher's outputs."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mpsearch.tasks.outputs import floats_mapped
from mpsearch.tasks.task import Criterion
from mpsearch.training.recipe import Recipe

__all__ = ["distilled"]


def distilled(loss: Criterion, divergence: Criterion, outputs: Any, targets: Any, reference: Any, recipe: Recipe) -> Tensor:
    """`(1 − d) · loss(outputs, targets) + d · T² · mean divergence(reference/T, outputs/T)` with d and T of the recipe, `[]`.

    Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, arXiv 1503.02531, section 2. At d = 1 no label is used.

    Args:
        loss: `(outputs, targets) → []`.
        divergence: `(reference outputs, outputs) → [N]` in nats.
        outputs: outputs of the student, a tensor or a structure of them.
        targets: labels.
        reference: outputs of the teacher; they get no gradient.
        recipe: has d (`distill`) and T (`temperature`).
    """
    t = recipe.temperature
    taught = floats_mapped(reference, lambda tensor: tensor.detach().float() / t)
    imitation = t * t * divergence(taught, floats_mapped(outputs, lambda tensor: tensor.float() / t)).mean()
    return imitation if recipe.distill == 1 else (1 - recipe.distill) * loss(outputs, targets) + recipe.distill * imitation
