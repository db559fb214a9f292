"""`Layer`: what the search knows of one quantizable weight, without the tensor itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Layer"]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One quantizable weight and the activation that enters it.

    Args:
        name: unique, what globs match: the module's dotted path, plus the parameter's name where a module has several weights
            (`encoder.0.self_attn.in_proj_weight`).
        module: dotted path of the module that owns the weight.
        parameter: name of the weight in that module (`weight`, `in_proj_weight`).
        kind: class name of the module (`Conv2d`).
        weight_shape: shape of the weight tensor.
        channels: output channels, one quantization step each.
        macs: multiply-accumulates of one sample, summed over all calls in one forward pass.
        input_elements: elements of the activation entering the layer, one sample.
        output_elements: elements of its output, one sample.
        act_quantizable: whether the input activation can be quantized (a float tensor that the module receives as an argument).
        signed_input: whether the input was seen to be negative anywhere.
        bias_elements: bias values the artifact holds for the layer once BatchNorm is folded (0 or `channels`).
        norm: dotted path of the BatchNorm folded into this layer at export, or "".
        aliases: other `module.parameter` paths that hold the very same tensor.
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

    @property
    def weights(self) -> int:
        """Number of weights."""
        return math.prod(self.weight_shape)
