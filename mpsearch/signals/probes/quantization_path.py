"""`QuantizationPath`: the straight path of a network from float to an allocation, and the slope of a loss through each layer.

weights W + t (Q(W) − W)        inputs x + t (Q(x) − x)        t from 0 (float) to 1 (the quantized network, to the last bit)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mpsearch.core.choice import Choice
from mpsearch.core.space import ResolvedSpace
from mpsearch.network.calibrate import Calibration
from mpsearch.network.quantizers import FixedActQuantizer, attach_act_quantizer

__all__ = ["QuantizationPath"]


class QuantizationPath:
    """Weights change in place, so that shared weights follow; inputs change in place of a quantizer.

    Args:
        model: a frozen copy; its layers' weights require gradients afterwards.
        space: layers and menus.
        calibration: ranges.
    """

    def __init__(self, model: nn.Module, space: ResolvedSpace, calibration: Calibration) -> None:
        self._space, self._calibration = space, calibration
        self._weights: list[Tensor] = []
        self._inputs: list[_PartialQuantizer | None] = []
        for layer, menu in zip(space.layers, space.menus, strict=True):
            module = model.get_submodule(layer.module)
            self._weights.append(getattr(module, layer.parameter).requires_grad_())
            partial = _PartialQuantizer().to(self._weights[-1].device) if any(not choice.activation.is_float for choice in menu) else None
            if partial is not None:
                attach_act_quantizer(module, partial)
            self._inputs.append(partial)
        self._start = [weight.detach().clone() for weight in self._weights]
        self._end = self._start

    def aim(self, allocation: Mapping[str, Choice]) -> None:
        """Set the end of the path, t = 1, and move to t = 0."""
        self._end = [self._calibration.weight(layer.name, allocation[layer.name].weight) for layer in self._space.layers]
        for layer, partial in zip(self._space.layers, self._inputs, strict=True):
            if partial is not None:
                self._calibration.set_input(partial, layer.name, allocation[layer.name].activation)
        self.go(0.0)

    @torch.no_grad()
    def go(self, t: float) -> None:
        """Move everything to t."""
        for weight, start, end in zip(self._weights, self._start, self._end, strict=True):
            weight.copy_(torch.lerp(start, end, t))
        for partial in self._inputs:
            if partial is not None:
                partial.t.fill_(t)

    def slopes(self, loss: Tensor) -> NDArray[np.float64]:
        """`∂loss/∂t` through each layer alone, `[L]`: `⟨∂loss/∂W_l, Q(W_l) − W_l⟩ + ⟨∂loss/∂x_l, Q(x_l) − x_l⟩`; frees the graph.

        Args:
            loss: `[]`, of a forward pass at the present t; rounded inputs pass its gradient straight through.
        """
        if not loss.requires_grad:
            return np.zeros(len(self._weights))
        moved = [row for row, partial in enumerate(self._inputs) if partial is not None]
        leaves = [partial.t for partial in self._inputs if partial is not None]
        gradients = torch.autograd.grad(loss, [*self._weights, *leaves], allow_unused=True)
        slopes = torch.zeros(len(self._weights), dtype=torch.float64, device=loss.device)
        for row, (gradient, start, end) in enumerate(zip(gradients, self._start, self._end, strict=False)):
            if gradient is not None:
                slopes[row] += (gradient * (end - start)).double().sum()
        for row, gradient in zip(moved, gradients[len(self._weights) :], strict=True):
            if gradient is not None:
                slopes[row] += gradient
        return slopes.cpu().numpy()


class _PartialQuantizer(FixedActQuantizer):
    """`x + t (Q(x) − x)`."""

    def __init__(self) -> None:
        super().__init__()
        self.t = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return torch.lerp(x, super().forward(x), self.t)
