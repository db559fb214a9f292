"""The two modules that a method provides: a quantizer of a weight (a parametrization) and one of a layer's input (a forward pre-hook).

Bits are buffers (`lo`, `hi`, `offset`, `is_float`), so `torch.compile` traces the network once, and every allocation runs the same code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.gradients.affine import codes, fake_quantize, fake_quantize_rows
from mpsearch.numbers.gradients.power_of_two_levels import quantize_to_powers
from mpsearch.numbers.gradients.straight_through import straight_through
from mpsearch.numbers.grid import Grid
from mpsearch.numbers.power_of_two import DEEPEST

__all__ = [
    "ActQuantizer",
    "FixedActQuantizer",
    "FixedPowerActQuantizer",
    "InputCodes",
    "PowerActQuantizer",
    "WeightQuantizer",
    "act_quantizer_of",
    "attach_act_quantizer",
    "attach_output_quantizer",
    "output_quantizer_of",
]


class _Quantizer(nn.Module):
    lo: Tensor
    hi: Tensor
    offset: Tensor
    is_float: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.bits = FLOAT_BITS
        self.grid = Grid(-1, 0)
        for name, value in (("lo", -1.0), ("hi", 0.0), ("offset", 0.0)):
            self.register_buffer(name, torch.tensor(value))
        self.register_buffer("is_float", torch.tensor(True))

    def set_grid(self, bits: int, grid: Grid | None) -> None:
        """Fill the buffers in place; `grid=None` with 32 bits bypasses the quantizer."""
        self.bits = bits
        self.grid = grid or Grid(-1, 0)
        self.lo.fill_(self.grid.lo)
        self.hi.fill_(self.grid.hi)
        self.offset.fill_(self.grid.offset)
        self.is_float.fill_(bits == FLOAT_BITS)

    def get_extra_state(self) -> dict[str, int]:
        """Bits and grid, which the `state_dict` includes, so that a checkpoint restores its allocation."""
        return {"bits": self.bits, "lo": self.grid.lo, "hi": self.grid.hi}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Inverse of `get_extra_state`; the offset comes from its buffer."""
        self.bits = state["bits"]
        self.grid = Grid(state["lo"], state["hi"], float(self.offset))


class WeightQuantizer(_Quantizer, ABC):
    """Fake-quantizes one weight, with one step per row.

    A method's subclass holds the state behind `steps` and initialises it in `begin`. A subclass with its own gradient overrides `quantize`;
    one that stores its weights elsewhere also overrides `export`. In evaluation mode `quantize` returns the values that `export` writes.
    """

    shift: Tensor

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self.rows = rows
        self._shifted = False

    def allow_zero_points(self) -> None:
        """Keep a shift per row, `value = (code + shift) · step`; only for menus with zero points, since it costs time."""
        self._shifted = True
        self.register_buffer("shift", torch.zeros(self.rows.count, 1, device=self.lo.device))

    def set_zeros(self, zeros: Tensor | None) -> None:
        """Set the codes of 0, `[rows]`, whole numbers but in superblocks; None: no zero point."""
        if zeros is not None:
            self.shift.copy_(-zeros.float().unsqueeze(1))
        elif self._shifted:
            self.shift.fill_(float(self.offset))

    def zeros(self) -> Tensor:
        """The codes of 0, int8 `[rows]`."""
        return (-self.shift).squeeze(1).to(torch.int8)

    def offsets(self) -> Tensor:
        """What is added to codes before they are multiplied by the step, `[rows, 1]`."""
        return self.shift if self._shifted else self.offset.expand(self.rows.count, 1)

    @abstractmethod
    def begin(self, weight: Tensor, steps: Tensor) -> None:
        """Initialise with calibrated `[C]` steps for the present grid; `weight` is `[C, n]`."""

    @abstractmethod
    def steps(self, weight: Tensor) -> Tensor:
        """The present `[C]` steps for `weight` `[C, n]`."""

    def forward(self, weight: Tensor) -> Tensor:
        """Quantize a weight in its own shape."""
        compiling = torch.compiler.is_compiling()
        if not compiling and self.bits == FLOAT_BITS:
            return weight
        quantized = self.rows.join(self.quantize(self.rows.split(weight)))
        return torch.where(self.is_float, weight, quantized) if compiling else quantized

    def quantize(self, rows: Tensor) -> Tensor:
        """Quantize rows `[C, n]`, with gradients."""
        return fake_quantize_rows(rows, self.steps(rows), self.lo, self.hi, self.shift if self._shifted else self.offset)

    @torch.no_grad()
    def export(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Codes int16 `[C, n]` and steps `[C]` of what `forward` computes."""
        rows = self.rows.split(weight)
        steps = self.steps(rows).detach()
        offset = self.shift if self._shifted else self.grid.offset
        return codes(rows, steps.unsqueeze(1), self.grid, offset), steps


class ActQuantizer(_Quantizer, ABC):
    """Fake-quantizes one layer's input with one step."""

    powers: ClassVar[bool] = False
    """Whether levels are powers of two."""

    @abstractmethod
    def begin(self, step: Tensor) -> None:
        """Initialise with the calibrated step, shape `[]`."""

    @abstractmethod
    def step_value(self) -> Tensor:
        """The present step, shape `[]`."""

    def forward(self, x: Tensor) -> Tensor:
        """Quantize an activation of any shape."""
        compiling = torch.compiler.is_compiling()
        if not compiling and self.bits == FLOAT_BITS:
            return x
        quantized = self.quantize(x)
        return torch.where(self.is_float, x, quantized) if compiling else quantized

    def quantize(self, x: Tensor) -> Tensor:
        """Quantize at bits below float, with gradients."""
        return fake_quantize(x, self.step_value(), self.lo, self.hi)


class PowerActQuantizer(ActQuantizer):
    """An activation quantizer with power-of-two levels: `2^−k` times the step, and a zero if the input is unsigned."""

    powers = True

    def quantize(self, x: Tensor) -> Tensor:
        """Round in the logarithm, see `mpsearch.numbers.gradients.power_of_two_levels`."""
        return self.to_powers(x, self.step_value(), torch.exp2(-self.span()))

    def to_powers(self, x: Tensor, largest: Tensor, ratio: Tensor) -> Tensor:
        """Quantize in units of the largest level, which may be any number; `ratio`, a power of two, is the smallest level in them."""
        units = quantize_to_powers(x.float() / largest, ratio, torch.ones_like(largest), zero=self.lo >= 0)
        return (units * largest).to(x.dtype)

    def span(self) -> Tensor:
        """`[]`, largest exponent k: the smallest level is `2^−k` times the largest."""
        return torch.where(self.lo < 0, self.hi, (self.hi - 1) / 2).clamp(0, DEEPEST)


class FixedActQuantizer(ActQuantizer):
    """An activation quantizer with a fixed step."""

    step: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("step", torch.ones(()))

    def begin(self, step: Tensor) -> None:
        """Set the step."""
        self.step.copy_(step)

    def step_value(self) -> Tensor:
        """The step."""
        return self.step


class InputCodes(FixedActQuantizer):
    """Gives codes in place of values."""

    def quantize(self, x: Tensor) -> Tensor:
        """Codes, float32; the gradient passes inside the grid."""
        scaled, low, high = x * self.step.reciprocal(), self.grid.lo, self.grid.hi
        if not x.requires_grad:
            return scaled.round_().clamp_(low, high)
        return straight_through(scaled.clamp(low - 0.5, high + 0.5), scaled.detach().round().clamp_(low, high))


class FixedPowerActQuantizer(PowerActQuantizer, FixedActQuantizer):
    """The same for powers of two: its step is the largest level."""


def attach_act_quantizer(module: nn.Module, quantizer: ActQuantizer) -> None:
    """Quantize the module's first input, positional or keyword, with the quantizer.

    Of attention, query, key and value are quantized; a tensor that occurs several times is quantized once.
    """
    module.input_quantizer = quantizer
    module.register_forward_pre_hook(_quantize_inputs, with_kwargs=True)


def act_quantizer_of(model: nn.Module, layer: Layer) -> ActQuantizer | None:
    """The quantizer of a layer's input; None if there is none."""
    return getattr(model.get_submodule(layer.module), "input_quantizer", None) if layer.act_quantizable else None


def attach_output_quantizer(module: nn.Module, quantizer: ActQuantizer) -> None:
    """Quantize the module's output with the quantizer."""
    module.output_quantizer = quantizer
    module.register_forward_hook(_quantize_output)


def output_quantizer_of(model: nn.Module, layer: Layer) -> ActQuantizer | None:
    """The quantizer of a layer's output, behind its norm if that is still there; None if there is none."""
    for path in (layer.norm, layer.module) if layer.norm else (layer.module,):
        found: ActQuantizer | None = getattr(model.get_submodule(path), "output_quantizer", None)
        if found is not None:
            return found
    return None


def _quantize_output(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
    quantizer: Any = module.output_quantizer
    quantized: Tensor = quantizer(output)
    # What is added may be added in place, and the quantizer keeps its output for the backward pass.
    return quantized.clone() if quantized.requires_grad and quantized is not output else quantized


def _quantize_inputs(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    quantizer: Any = module.input_quantizer
    if not isinstance(module, nn.MultiheadAttention):
        if args:
            return (quantizer(args[0]), *args[1:]), kwargs
        name = next(iter(kwargs))
        return args, {**kwargs, name: quantizer(kwargs[name])}
    done: dict[int, Tensor] = {}

    def once(value: Any) -> Any:
        if id(value) not in done:
            done[id(value)] = quantizer(value)
        return done[id(value)]

    quantized = {name: once(value) if name in ("query", "key", "value") else value for name, value in kwargs.items()}
    return (*(once(value) for value in args[:3]), *args[3:]), quantized
