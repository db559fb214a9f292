"""Half-precision checkpoints (`bfloat16`, `float16`) are computed in float32: quantization starts from there, and so do CPUs."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["HALVES", "half_of", "in_float32"]

HALVES = (torch.bfloat16, torch.float16)


def half_of(model: nn.Module) -> tuple[str, ...]:
    """Names of the half-precision types among the parameters, such as `bfloat16`."""
    found = {parameter.dtype for parameter in model.parameters()}
    return tuple(str(kind).removeprefix("torch.") for kind in HALVES if kind in found)


def in_float32(model: nn.Module) -> nn.Module:
    """The model with every floating-point tensor in float32, in place, if a parameter is in half precision; exact."""
    return model.float() if half_of(model) else model
