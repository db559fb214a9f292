"""`Layer`: the properties of one quantizable weight, without the tensor itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mpsearch.core.number_format import FLOAT, SUMMED, NumberFormat

__all__ = ["Layer"]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One quantizable weight and the activation that enters it.

    Args:
        name: unique name, which globs match: the module's dotted path, plus the parameter's name if the module has several weights
            (`encoder.0.self_attn.in_proj_weight`).
        module: dotted path of the module that owns the weight.
        parameter: name of the weight in that module (`weight`, `in_proj_weight`).
        kind: class name of the module (`Conv2d`); of a parameter that the forward pass multiplies itself, the operation (`matmul`).
        weight_shape: shape of the weight tensor.
        channels: number of output channels.
        macs: multiply-accumulates of one sample, summed over all calls in one forward pass.
        input_elements: elements of the activation entering the layer, one sample.
        output_elements: elements of its output, one sample.
        act_quantizable: whether the input activation can be quantized (a float tensor that the module receives as an argument).
        signed_input: whether a negative input was observed.
        bias_elements: bias values that the artifact stores for the layer after BatchNorm folding (0 or `channels`).
        norm: dotted path of the BatchNorm folded into this layer at export, or "".
        aliases: other `module.parameter` paths of the same tensor.
        wide: whether the artifact keeps scales and the folded bias in float32, since half precision would cost accuracy.
        read_elsewhere: whether the forward pass reads the weight or the bias outside of calls of the module, too.
        axes: axes of the weight along which the output channels lie, as its use shows; None: as the module's class says.
        reads_with: name of an earlier layer that reads the same tensor and, at equal bits, shares its rounding; or "".
        whole_bias: whether its bias is a whole number of units of the sum where it multiplies inputs of 8 bits by integers.
        rounds_output: whether its output, behind its norm, may be rounded, see `output_format`.
    """

    name: str
    module: str
    parameter: str
    kind: str
    weight_shape: tuple[int, ...]
    channels: int
    macs: int
    input_elements: int
    output_elements: int
    act_quantizable: bool
    signed_input: bool
    bias_elements: int
    norm: str = ""
    aliases: tuple[str, ...] = ()
    wide: bool = False
    read_elsewhere: bool = False
    axes: tuple[int, ...] | None = None
    reads_with: str = ""
    whole_bias: bool = False
    rounds_output: bool = False

    def output_format(self, weight: NumberFormat, input: NumberFormat) -> NumberFormat:
        """The format of its output: rounded to 8 bits where integers are multiplied and the output is added as it is, else float.

        Args:
            weight: format of the weight.
            input: format of the input.
        """
        return SUMMED if self.rounds_output and not weight.is_float and input.bits == SUMMED.bits else FLOAT

    @property
    def weights(self) -> int:
        """Number of weights."""
        return math.prod(self.weight_shape)
