"""`distilled`: the loss of a network that learns from targets and from another network's outputs."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from mpsearch.training.recipe import Recipe

__all__ = ["distilled"]

Loss = Callable[[Tensor, Tensor], Tensor]


def distilled(loss: Loss, divergence: Loss, outputs: Tensor, targets: Tensor, reference: Tensor, recipe: Recipe) -> Tensor:
    """`(1 − d) · loss(outputs, targets) + d · T² · mean divergence(reference/T, outputs/T)` with d and T of the recipe, `[]`.

    Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, arXiv 1503.02531, section 2. At d = 1 no label is read.

    Args:
        loss: `(outputs, targets) → []`.
        divergence: `(reference outputs, outputs) → [N]` in nats.
        outputs: of the learning network.
        targets: labels.
        reference: outputs to imitate; they get no gradient.
        recipe: says d (`distill`) and T (`temperature`).
    """
    t = recipe.temperature
    imitation = t * t * divergence(reference.detach().float() / t, outputs.float() / t).mean()
    return imitation if recipe.distill == 1 else (1 - recipe.distill) * loss(outputs, targets) + recipe.distill * imitation
