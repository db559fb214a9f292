"""`torch.compile` where it pays: one compilation serves every allocation, so its half minute is shared by all steps to come."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.network.inputs import call

__all__ = ["Compiler", "compiler_at_hand"]

_REPAID_AFTER = 4000
"""Training steps after which compiling has been cheaper than not: about 35 s against 10 to 20 ms a step on small networks."""


def compiler_at_hand(device: torch.device) -> bool:
    """Whether TorchInductor finds what it needs: a C++ compiler on the CPU, Triton on CUDA."""
    if device.type == "cuda":
        from importlib.util import find_spec

        return find_spec("triton") is not None
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))


class Compiler:
    """Compiles a network's forward when it is told to or when the steps to come repay it.

    Args:
        mode: `on`, `off` or `auto`.
        device: where it runs.
        steps_to_come: training steps of the whole study, by estimate.
    """

    def __init__(self, mode: str, device: torch.device, steps_to_come: int = 0) -> None:
        self._wanted = mode == "on" or (mode == "auto" and steps_to_come >= _REPAID_AFTER and compiler_at_hand(device))
        self._compiled: dict[int, Callable[[Any], Tensor]] = {}

    @property
    def active(self) -> bool:
        """Whether forwards are compiled."""
        return self._wanted

    def compiled(self, model: nn.Module, steps: int) -> Callable[[Any], Tensor] | None:
        """The compiled forward of `model`, made on first use; None where eager is meant."""
        if not self._wanted or steps == 0:
            return None
        if id(model) not in self._compiled:
            module = torch.compile(model)
            self._compiled = {id(model): lambda inputs: call(module, inputs)}  # type: ignore[arg-type]
        return self._compiled[id(model)]
