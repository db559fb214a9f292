"""`Calibration`: ranges of every layer at every bit width, fitted once on float weights and training batches, shared by all trials."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.core.choice import FLOAT_BITS
from mpsearch.core.errors import DataError
from mpsearch.core.space import ResolvedSpace
from mpsearch.network.observe import collect_inputs, draw
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.gradients.affine import fake_quantize, fake_quantize_rows
from mpsearch.numbers.grid import Grid, GridStyle, act_grid, weight_grid
from mpsearch.numbers.ranges import fit_step, fit_steps

__all__ = ["Calibration"]

_SAMPLES = 2**16


class Calibration:
    """Steps that minimise the squared error of each weight row and each activation, computed when first asked for.

    Args:
        model: float network.
        space: its layers.
        activations: samples of each layer's input, 1-D float32, by layer name; only for layers that may quantize it.
        style: grid of the weights.
    """

    def __init__(self, model: nn.Module, space: ResolvedSpace, activations: dict[str, Tensor], style: GridStyle = "twos") -> None:
        self._rows = {}
        self._layouts = {}
        self._layers = {layer.name: layer for layer in space.layers}
        for layer in space.layers:
            module = model.get_submodule(layer.module)
            weight = getattr(module, layer.parameter)
            self._layouts[layer.name] = Rows.of(module, weight)
            self._rows[layer.name] = self._layouts[layer.name].split(weight.detach().float()).contiguous()
        self._activations = activations
        self._signed = {name: bool((values < 0).any()) for name, values in activations.items()}
        self._steps: dict[tuple[str, int, str], Tensor] = {}
        self.style: GridStyle = style

    @classmethod
    def fit(cls, model: nn.Module, space: ResolvedSpace, batches: Iterable[Any], style: GridStyle = "twos") -> Calibration:
        """Collect activation samples from `batches` of inputs (not read when no activation is quantized).

        Raises:
            DataError: `batches` is empty although activations are quantized.
        """
        wanted = {
            layer.name: layer.module
            for layer, menu in zip(space.layers, space.menus, strict=True)
            if any(choice.act_bits != FLOAT_BITS for choice in menu)
        }
        return cls(model, space, _sampled(model, wanted, batches) if wanted else {}, style)

    def signed(self, name: str) -> bool:
        """Whether the layer's input was seen to be negative."""
        return self._signed.get(name, self._layers[name].signed_input)

    def weight_steps(self, name: str, bits: int, style: GridStyle | None = None) -> Tensor:
        """`[channels]` steps."""
        style = style or self.style
        key = (name, bits, style)
        if key not in self._steps:
            self._steps[key] = fit_steps(self._rows[name], weight_grid(bits, style))
        return self._steps[key]

    def act_step(self, name: str, bits: int) -> Tensor:
        """`[]` step."""
        key = (name, bits, "act")
        if key not in self._steps:
            self._steps[key] = fit_step(self._activations[name], act_grid(bits, self.signed(name)))
        return self._steps[key]

    @torch.no_grad()
    def weight(self, name: str, bits: int) -> Tensor:
        """The layer's weight at `bits`, dequantized, in its own shape; 32 bits: as it is."""
        rows = self._rows[name]
        if bits != FLOAT_BITS:
            rows = fake_quantize_rows(rows, self.weight_steps(name, bits), *_limits(weight_grid(bits, self.style), rows.device))
        return self._layouts[name].join(rows)

    @torch.no_grad()
    def activation(self, name: str, bits: int, x: Tensor) -> Tensor:
        """The layer's input at `bits`, dequantized; 32 bits: as it is."""
        if bits == FLOAT_BITS:
            return x
        lo, hi, _ = _limits(act_grid(bits, self.signed(name)), x.device)
        return fake_quantize(x, self.act_step(name, bits).to(x.device), lo, hi)


def _limits(grid: Grid, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    lo, hi, offset = torch.tensor([float(grid.lo), float(grid.hi), grid.offset], device=device).unbind()
    return lo, hi, offset


def _sampled(model: nn.Module, wanted: dict[str, str], batches: Iterable[Any]) -> dict[str, Tensor]:
    """Values of each layer's input: at most 2^16 of them, spread over the batches, and the extremes of every call."""
    generator = torch.Generator().manual_seed(0)
    batches = list(batches)
    if not batches:
        raise DataError("calibration needs at least one batch of training data; the training split gave none")
    per_batch = max(_SAMPLES // len(batches), 1)

    def sample(x: Tensor) -> Tensor:
        if x.numel() <= per_batch:
            return x
        return torch.cat([draw(x, per_batch, generator), x.amin().reshape(1), x.amax().reshape(1)])

    return collect_inputs(model, wanted, batches, sample)
