"""Mirror descent's quantizer on one tensor, with the levels and the scale of the published code; for both of its maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mpsearch.methods.mirror_descent import MirrorDescent
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.grid import weight_grid
from mpsearch.numbers.proportional import ratio_to_mean

__all__ = ["Mirror", "closely", "optimizer_of", "tensor"]


def tensor(values: Any) -> Tensor:
    """float64."""
    return torch.tensor(values, dtype=torch.float64)


def closely(ours: Tensor, theirs: Any, *, tolerance: float = 1e-10) -> None:
    """Equal to `tolerance`, absolute below 1."""
    torch.testing.assert_close(ours.detach().double(), torch.as_tensor(theirs, dtype=torch.float64), rtol=tolerance, atol=tolerance)


class Mirror:
    """The quantizer of one tensor and its parameter, in float64.

    Two levels are −1 and 1, a step of 2; three are −1, 0, 1, a step of 1. The stable form's steps follow mean|a|, where the published code
    has no scale: `value` sets their ratio such that the step is 2 or 1 for the present weights.
    """

    def __init__(
        self,
        start: Tensor,
        *,
        levels: int,
        projection: Literal["tanh", "softmax"],
        beta: float,
        form: Literal["stable", "direct"] = "stable",
    ) -> None:
        bits = 1 if levels == 2 else 2
        self.method = MirrorDescent(grid="narrow", projection=projection, form=form, beta_start=beta, beta_end=beta * 1.05**20)
        self.quantizer: Any = self.method.weight_quantizer(Rows("first", tuple(start.shape))).double()
        self.quantizer.set_grid(bits, weight_grid(bits, "narrow"))
        self.weight = nn.Parameter(start.clone())
        self.step = torch.full((len(start),), 2.0 if levels == 2 else 1.0, dtype=torch.float64)
        self.quantizer.begin(self.weight.detach(), self.step)

    def value(self) -> Tensor:
        """The quantized weight; soft in training, rounded in evaluation."""
        if not self.method.direct:
            self.quantizer.scale.copy_(ratio_to_mean(self.weight.detach(), self.step))
        found: Tensor = self.quantizer(self.weight)
        return found

    def rounded(self) -> Tensor:
        """What evaluation and export have; exact integers, which the product of ratio and mean|a| misses by its rounding."""
        self.quantizer.eval()
        found = self.value().detach().round(decimals=9)
        self.quantizer.train()
        return found

    def dual(self) -> Tensor:
        """The dual variable a."""
        found: Tensor = self.quantizer.dual(self.weight.detach())
        return found

    def descend(
        self, optimizer: torch.optim.Optimizer, target: Tensor, before_step: Callable[[int], None] = lambda step: None
    ) -> Iterator[tuple[int, float, Tensor]]:
        """20 steps on `½ Σ (w − target)²`: (step from 1, loss before it, gradient of w); β has risen by 1.05 when a step is yielded."""
        for step in range(1, 21):
            w = self.value()
            w.retain_grad()
            loss = (w - target).square().sum() / 2
            optimizer.zero_grad()
            loss.backward()
            before_step(step)
            optimizer.step()
            with torch.no_grad():
                self.quantizer.anneal(self.weight, self.method.beta(step / 20))
            assert w.grad is not None
            yield step, loss.item(), w.grad


def optimizer_of(name: str, parameter: nn.Parameter, rate: float) -> torch.optim.Optimizer:
    """As in the published trajectories: SGD with momentum 0.9, or Adam."""
    return torch.optim.SGD([parameter], lr=rate, momentum=0.9) if name == "sgd" else torch.optim.Adam([parameter], lr=rate)
