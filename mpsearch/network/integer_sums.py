"""Layers that multiply integers: codes of inputs by codes of weights, and one scale for the sum.

    y_c = round(Σ_j k_cj · n_j) · (step · unit · scale_c) + bias_c

Integers below 2^24 are exact in float32, and so are their sums, in whatever order a device, a runtime or several threads add them: all
compute the same y. Sums of floats differ from one to the next, and where such a sum is close to the middle between two codes of the next
layer, its code differs too. Rounding a sum that is whole changes nothing; it keeps runtimes from multiplying the scale into the weights.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.numbers.gradients.straight_through import straight_through

__all__ = ["ScaledSums", "along_channels", "is_product", "multiplies_integers", "scale_sums"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def is_product(module: nn.Module, layer: Layer) -> bool:
    """Whether a call of the module multiplies its input by the layer's weight, adds the bias, and does nothing else with either."""
    if layer.aliases or layer.read_elsewhere or layer.axes is not None or layer.parameter != "weight":
        return False
    kind = type(module)
    if isinstance(module, nn.Linear):
        return kind.forward is nn.Linear.forward
    for base in (*_CONVOLUTIONS, *_TRANSPOSED):
        if isinstance(module, base):
            own = kind.forward is base.forward
            return own and (isinstance(module, _TRANSPOSED) or kind._conv_forward is base._conv_forward)  # type: ignore[attr-defined]
    return False


def multiplies_integers(module: nn.Module, layer: Layer, weight: NumberFormat, input: NumberFormat | None) -> bool:
    """Whether the layer multiplies integers in these stored formats.

    Args:
        module: of the layer.
        layer: as traced.
        weight: format of the weight.
        input: format of the input; None or float for a float input.
    """
    return input is not None and input.kind == "uniform" and weight.integer_unit is not None and is_product(module, layer)


def along_channels(layer: Layer, numbers: int) -> tuple[int, ...]:
    """The shape in which so many numbers, of each output channel or one, multiply the layer's output."""
    return (numbers, *[1] * (len(layer.weight_shape) - 2))


class ScaledSums(nn.Module):
    """What follows the sum.

    Args:
        scale: float32, in a shape that broadcasts against the output; see `along_channels`.
        bias: alike; None without a bias.
    """

    scale: Tensor
    bias: Tensor | None

    def __init__(self, scale: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)

    def forward(self, sums: Tensor) -> Tensor:
        """Sums → outputs; in place where no gradient is asked for, since nobody else has seen the sums."""
        if sums.requires_grad:
            scaled = straight_through(sums, sums.round()) * self.scale
            return scaled if self.bias is None else scaled + self.bias
        scaled = sums.round_().mul_(self.scale)
        return scaled if self.bias is None else scaled.add_(self.bias)


def scale_sums(module: nn.Module, scaling: nn.Module) -> None:
    """Let every output of the module pass through `scaling`, before any other hook sees it."""
    module.output_scaling = scaling
    module.register_forward_hook(_scale, prepend=True)


def _scale(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
    scaled: Tensor = module.output_scaling(output)  # type: ignore[operator]
    return scaled
