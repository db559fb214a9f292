"""`CompensatedCalibration`: a calibration for studies whose method compensates rounding errors (`gptq`)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from mpsearch.core.number_format import NumberFormat
from mpsearch.core.space import ResolvedSpace
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call
from mpsearch.network.observe import first_input, hooked
from mpsearch.network.patches import Patches, has_patches
from mpsearch.numbers.blocked import blocked_codes, fit_blocked
from mpsearch.numbers.compensated import Factored, damped, fit_compensated
from mpsearch.numbers.grid import GridStyle, grid_of

__all__ = ["CompensatedCalibration"]

_PLACES = 32
"""Places of a convolution's output that are read in a sample; neighbours are alike. Of a linear layer over tokens, all are read."""
_TOKENS = 2**14
_DAMPING = 0.01
_FACTORS = (0.7, 0.85, 1.0, 1.2)


class CompensatedCalibration(Calibration):
    """A calibration whose quantized weights are fitted under the second moments of their float inputs; steps and activations are unchanged.

    Nearest rounding is much worse than compensated rounding at 2 bits, but hardly at 1 or 8 bits. Signals of nearest rounding would
    therefore assign bits to the wrong layers.
    """

    def __init__(self, model: nn.Module, space: ResolvedSpace, activations: dict[str, Tensor], style: GridStyle = "twos") -> None:
        super().__init__(model, space, activations, style)
        self._moments: dict[str, Tensor] = {}
        self._weights: dict[tuple[str, NumberFormat], Tensor] = {}
        self._factored: tuple[str, Factored] | None = None

    @classmethod
    def fit(cls, model: nn.Module, space: ResolvedSpace, batches: Iterable[Any], style: GridStyle = "twos") -> Self:
        """As `Calibration.fit`, with one more pass over the batches for the moments."""
        batches = list(batches)
        found = super().fit(model, space, batches, style)
        counts: dict[str, int] = {}

        def gather(name: str, central: bool, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
            places = _TOKENS if output.dim() == 3 and not isinstance(module, nn.Conv1d) else _PLACES
            inputs = Patches(module, output.shape, places).inputs(first_input(args, kwargs))
            if central:
                inputs = inputs - inputs.mean(1, keepdim=True)
            found._moments[name] = found._moments.get(name, 0.0) + torch.bmm(inputs.mT, inputs)
            counts[name] = counts.get(name, 0) + inputs.shape[1]

        fitting = [layer for layer in space.layers if has_patches(model, layer)]
        hooks = [(model.get_submodule(layer.module), partial(gather, layer.name, bool(layer.bias_elements))) for layer in fitting]
        with hooked(after=hooks), torch.no_grad():
            for inputs in batches:
                call(model, inputs)
        for name, total in counts.items():
            found._moments[name] /= total
        return found

    @torch.no_grad()
    def weight(self, name: str, format: NumberFormat) -> Tensor:
        """The layer's weight in a format, quantized and dequantized, in its own shape; unchanged for float."""
        moments = self._moments.get(name)
        if not self._fits(format, moments):
            return super().weight(name, format)
        assert moments is not None
        if (name, format) not in self._weights:
            rounded = self._rounded if format.granularity == "channel" else self._rounded_groups
            values = rounded(name, format, self._factored_of(name, moments))
            layout = self._layout(name, format.granularity)
            self._weights[name, format] = layout.join(values.reshape(layout.count, -1).contiguous())
        return self._weights[name, format]

    def _fits(self, format: NumberFormat, moments: Tensor | None) -> bool:
        """Whether the format's errors can be compensated: those of a group only where all channels have the same inputs."""
        if not format.evenly_spaced or format.granularity == "tensor" or moments is None or not bool(torch.isfinite(moments).all()):
            return False
        return not format.zero_point if format.granularity == "channel" else len(moments) == 1

    def _rounded(self, name: str, format: NumberFormat, factored: Factored) -> Tensor:
        rows, grid = self._rows_of(name, "channel"), grid_of(format, self.style)
        target = rows.reshape(len(factored.moments), -1, rows.shape[1])
        steps = self.weight_steps(name, format).reshape(target.shape[:2])
        codes, steps = fit_compensated(target, factored, steps, grid, factors=_FACTORS, sweeps=1)
        return (codes + grid.offset) * steps.unsqueeze(2)

    def _rounded_groups(self, name: str, format: NumberFormat, factored: Factored) -> Tensor:
        rows, grid, zeros = self._rows_of(name, format.granularity), grid_of(format, self.style), self.zeros(name, format)
        target = rows.reshape(self._layouts[name].channels, -1)
        steps = self.weight_steps(name, format).reshape(len(target), -1)
        offset = torch.full_like(steps, grid.offset) if zeros is None else -zeros.float().reshape(steps.shape)
        if format.in_superblocks:
            codes = blocked_codes(target, factored, steps, grid, offset)
        else:
            codes, steps = fit_blocked(target, factored, steps, grid, offset=offset, refits=0)
        return (codes.reshape(rows.shape) + offset.reshape(-1, 1)) * steps.reshape(-1, 1)

    def _factored_of(self, name: str, moments: Tensor) -> Factored:
        """The layer's moments, factored once for all formats; those of one layer at a time, since they are large."""
        if self._factored is None or self._factored[0] != name:
            self._factored = name, Factored.of(damped(moments, _DAMPING))
        return self._factored[1]
