"""Quantizers of `learned_range` in the authors' convention; range_quantizers and range_budget share them.

A file's `U1`, `U2`, `U3` are `u1`, `u2`, `u3` and `P3` is `u3` with levels that are powers of two; n, d, xmin and xmax are our width,
step, bottom and top. Steps are powers of two there (`snap`), and weights have no lowest code of two's complement (`narrow`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from mpsearch.methods.learned_range import LearnedRange
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.grid import act_grid, weight_grid

__all__ = ["NAMES", "limited", "made", "tensor"]

NAMES = {"n": "width", "d": "step", "xmin": "bottom", "xmax": "top"}


def tensor(values: Any) -> Tensor:
    """float64."""
    return torch.tensor(values, dtype=torch.float64)


def made(parametrization: str, kind: str, params: Mapping[str, float], *, bits: int = 8, shape: tuple[int, ...] = (2, 12)) -> Any:
    """A quantizer that learns its bits, of `bits` in its allocation, with these parameters, in float64."""
    powers = parametrization == "P3"
    uniform = cast(Any, "u3" if powers else parametrization.lower())
    levels = cast(Any, "power_of_two" if powers else "uniform")
    method = LearnedRange(
        grid="narrow", snap=True, parametrization=uniform, levels=levels, act_levels=levels, weight_budget=8.0, act_budget=8.0
    )
    if kind == "weights":
        quantizer: Any = method.weight_quantizer(Rows("first", shape))
        quantizer.set_grid(bits, weight_grid(bits, method.grid))
    else:
        quantizer = method.act_quantizer()
        quantizer.set_grid(bits, act_grid(bits, signed=False))
    quantizer.double()
    assert {name for name, _ in quantizer.named_parameters()} == {NAMES[name] for name in params}
    with torch.no_grad():
        for name, value in params.items():
            getattr(quantizer, NAMES[name]).fill_(value)
    return quantizer


def limited(params: Mapping[str, float], limits: Mapping[str, Any]) -> dict[str, float]:
    """The parameters within the authors' limits: they clip them before use, we after a step."""
    return {name: min(max(value, limits[name][0]), limits[name][1]) for name, value in params.items()}
