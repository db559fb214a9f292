"""`Calibration`: ranges of every layer at every bit width, fitted once on float weights and training batches, shared by all trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from mpsearch.core.errors import DataError
from mpsearch.core.number_format import SUMMED, Granularity, NumberFormat
from mpsearch.core.space import ResolvedSpace
from mpsearch.network.observe import collect_inputs, collect_outputs, draw
from mpsearch.network.quantizers import ActQuantizer
from mpsearch.numbers.asymmetric import fit_asymmetric
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.gradients.affine import fake_quantize, fake_quantize_rows
from mpsearch.numbers.grid import Grid, GridStyle, act_grid, grid_of
from mpsearch.numbers.offset_superblocks import fit_offset_superblocks
from mpsearch.numbers.ranges import fit_step, fit_steps, sampled
from mpsearch.numbers.sample import Sample
from mpsearch.numbers.superblocks import on_superblocks

__all__ = ["Calibration"]

_SAMPLES = 2**16


class Calibration:
    """Steps that minimise the squared error of each weight row and each activation; computed on demand.

    Args:
        model: float network.
        space: its layers and menus.
        activations: samples of each layer's input, 1-D float32, by layer name; only for layers whose menu quantizes it.
        style: grid of the weights.
    """

    def __init__(self, model: nn.Module, space: ResolvedSpace, activations: dict[str, Tensor], style: GridStyle = "twos") -> None:
        self._rows = {}
        self._layouts = {}
        self._layers = {layer.name: layer for layer in space.layers}
        for layer in space.layers:
            weight = getattr(model.get_submodule(layer.module), layer.parameter)
            self._layouts[layer.name] = Rows.of_layer(model, layer)
            self._rows[layer.name] = self._layouts[layer.name].split(weight.detach().float()).contiguous()
        self._held: tuple[str, Granularity, Sample] | None = None  # of the rows asked for last
        self._activations = activations
        self._outputs: dict[str, Tensor] = {}  # samples of each output that is rounded
        self._signed = {name: bool((values < 0).any()) for name, values in activations.items()}
        self._steps: dict[tuple[str, Granularity, Grid], Tensor] = {}
        self._act_steps: dict[tuple[str, int], Tensor] = {}
        self._ranges: dict[tuple[str, Granularity, int], tuple[Tensor, Tensor]] = {}
        self.style: GridStyle = style

    @classmethod
    def fit(cls, model: nn.Module, space: ResolvedSpace, batches: Iterable[Any], style: GridStyle = "twos") -> Self:
        """Collect activation samples from `batches` of inputs (not read when no activation is quantized).

        Raises:
            DataError: `batches` is empty although activations are quantized.
        """
        wanted = {
            layer.name: layer.module
            for layer, menu in zip(space.layers, space.menus, strict=True)
            if any(not choice.activation.is_float for choice in menu)
        }
        rounded = {layer.name: layer.norm or layer.module for layer in space.layers if layer.rounds_output and layer.name in wanted}
        batches = list(batches) if wanted else []
        if wanted and not batches:
            raise DataError("calibration needs at least one batch of training data; the training split gave none")
        found = cls(model, space, _sampled(model, wanted, batches), style)
        found._outputs = _sampled(model, rounded, batches, outputs=True)
        return found

    def signed(self, name: str) -> bool:
        """Whether a negative input of the layer was observed."""
        return self._signed.get(name, self._layers[name].signed_input)

    def weight_steps(self, name: str, format: NumberFormat, style: GridStyle | None = None) -> Tensor:
        """`[rows]` steps of an evenly spaced format; for other formats, those of a uniform grid of as many bits."""
        if format.zero_point:
            return self._asymmetric(name, format)[0]
        key = name, format.granularity, grid_of(format, style or self.style)
        if key not in self._steps:
            steps = fit_steps(self._sample(name, format.granularity), key[2])
            self._steps[key] = on_superblocks(steps, format.bits) if format.granularity == "superblock" else steps
        return self._steps[key]

    def zeros(self, name: str, format: NumberFormat) -> Tensor | None:
        """The codes of 0, int8 `[rows]`, in superblocks float32, of a format with a zero point; None for any other format."""
        return self._asymmetric(name, format)[1] if format.zero_point else None

    def _layout(self, name: str, granularity: Granularity) -> Rows:
        return replace(self._layouts[name], granularity=granularity)

    def _rows_of(self, name: str, granularity: Granularity) -> Tensor:
        """The layer's weights `[rows, n]`, those of a row with one scale."""
        return self._rows[name].reshape(self._layout(name, granularity).count, -1)

    def _sample(self, name: str, granularity: Granularity) -> Sample:
        if self._held is None or self._held[:2] != (name, granularity):
            self._held = name, granularity, sampled(self._rows_of(name, granularity))
        return self._held[2]

    def _asymmetric(self, name: str, format: NumberFormat) -> tuple[Tensor, Tensor]:
        """Steps and zero points `[rows]` that cover each row's own range."""
        key = name, format.granularity, format.bits
        if key not in self._ranges:
            if format.in_superblocks:
                steps, offsets = fit_offset_superblocks(self._rows_of(name, format.granularity), format.bits)
                self._ranges[key] = steps, offsets / steps
            else:
                steps, lowest = fit_asymmetric(self._sample(name, format.granularity), format.bits)
                self._ranges[key] = steps, (-lowest - 2 ** (format.bits - 1)).to(torch.int8)
        return self._ranges[key]

    def act_step(self, name: str, format: NumberFormat) -> Tensor:
        """Step of the layer's input, `[]`."""
        if (name, format.bits) not in self._act_steps:
            self._act_steps[name, format.bits] = fit_step(self._activations[name], act_grid(format.bits, self.signed(name)))
        return self._act_steps[name, format.bits]

    def output_step(self, name: str) -> Tensor:
        """Step of the layer's output, `[]`, where that is rounded."""
        return fit_step(self._outputs[name], act_grid(SUMMED.bits, signed=True))

    def set_input(self, quantizer: ActQuantizer, name: str, format: NumberFormat) -> None:
        """Set the quantizer of the layer's input to a format, with the calibrated step."""
        if format.is_float:
            quantizer.set_grid(format.bits, None)
        else:
            quantizer.set_grid(format.bits, act_grid(format.bits, self.signed(name)))
            quantizer.begin(self.act_step(name, format))

    @torch.no_grad()
    def weight(self, name: str, format: NumberFormat) -> Tensor:
        """The layer's weight in a format, quantized and dequantized, in its own shape; unchanged for float."""
        rows = self._rows_of(name, format.granularity)
        if format.evenly_spaced:
            lo, hi, offset = _limits(grid_of(format, self.style), rows.device)
            zeros = self.zeros(name, format)
            rows = fake_quantize_rows(
                rows, self.weight_steps(name, format), lo, hi, offset if zeros is None else -zeros.float().unsqueeze(1)
            )
        elif not format.is_float:
            rows = format.decode(*format.encode(rows))
        return self._layout(name, format.granularity).join(rows)

    @torch.no_grad()
    def activation(self, name: str, format: NumberFormat, x: Tensor) -> Tensor:
        """The layer's input in a format, quantized and dequantized; unchanged for float."""
        if format.is_float:
            return x
        lo, hi, _ = _limits(act_grid(format.bits, self.signed(name)), x.device)
        return fake_quantize(x, self.act_step(name, format).to(x.device), lo, hi)


def _limits(grid: Grid, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    lo, hi, offset = torch.tensor([float(grid.lo), float(grid.hi), grid.offset], device=device).unbind()
    return lo, hi, offset


def _sampled(model: nn.Module, wanted: dict[str, str], batches: Sequence[Any], *, outputs: bool = False) -> dict[str, Tensor]:
    """Values of each module's input, or output: at most 2^16 of them, spread over the batches, and the extremes of every call."""
    if not wanted:
        return {}
    generator = torch.Generator().manual_seed(0)
    per_batch = max(_SAMPLES // len(batches), 1)

    def sample(x: Tensor) -> Tensor:
        if x.numel() <= per_batch:
            return x
        return torch.cat([draw(x, per_batch, generator), x.amin().reshape(1), x.amax().reshape(1)])

    return (collect_outputs if outputs else collect_inputs)(model, wanted, batches, sample)
