"""`torch.compile` where it pays off: one compilation, of about half a minute, serves every allocation of a study."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from mpsearch.network.inputs import call

__all__ = ["Compiler", "compiler_at_hand"]

_REPAID_AFTER = 4000
"""Training steps after which compiling pays off: about 35 s, against 10 to 20 ms saved per step on small networks."""


def compiler_at_hand(device: torch.device) -> bool:
    """Whether TorchInductor has the compiler it needs: C++ on the CPU, Triton on CUDA."""
    if device.type == "cuda":
        from importlib.util import find_spec

        return find_spec("triton") is not None
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))


class Compiler:
    """Compiles a network's forward if asked to, or if the study has enough steps for it to pay off.

    Args:
        mode: `on`, `off` or `auto`.
        device: device of the network.
        steps_to_come: estimated number of training steps of the whole study.

    Attributes:
        active: whether forwards are compiled.
    """

    def __init__(self, mode: str, device: torch.device, steps_to_come: int = 0) -> None:
        self.active = mode == "on" or (mode == "auto" and steps_to_come >= _REPAID_AFTER and compiler_at_hand(device))
        self._model: nn.Module | None = None
        self._forward: Callable[[Any], Any] | None = None

    def compiled(self, model: nn.Module, steps: int) -> Callable[[Any], Any] | None:
        """The compiled forward of `model`, compiled on first use; None if training is eager."""
        if not self.active or steps == 0:
            return None
        if self._model is not model:
            module: Any = torch.compile(model)
            self._model, self._forward = model, lambda inputs: call(module, inputs)
        return self._forward
