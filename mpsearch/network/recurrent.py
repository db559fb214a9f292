"""Recurrent modules whose weights change: `nn.RNNBase` computes with a list of its weights that only assignment keeps up to date."""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import nullcontext
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn

__all__ = ["RECURRENT", "follow_weights", "recurrent_weights"]

RECURRENT = (nn.RNNBase, nn.RNNCellBase)
"""LSTM, GRU, RNN and their cells; subclasses too."""


def recurrent_weights(module: nn.Module) -> list[str]:
    """Names of the matrices: every layer, both directions, projections."""
    return [name for name, _ in module.named_parameters(recurse=False) if name.startswith("weight_")]


def follow_weights(model: nn.Module) -> None:
    """Let every `nn.RNNBase` look its weights up when it computes, in place.

    A parametrization, or `torch.func.functional_call`, replaces an attribute without an assignment, and the module would go on with the
    float weights: nothing would be quantized, and no gradient would reach a quantizer.
    """
    for module in model.modules():
        if isinstance(module, nn.RNNBase) and not isinstance(getattr(type(module), "_flat_weights", None), property):
            module.__dict__.pop("_flat_weights", None)
            module.__class__ = _following(cast(Hashable, type(module)))


@cache
def _following(kind: Any) -> Any:
    def looked_up(self: Any) -> list[Tensor | None]:
        return [getattr(self, name, None) for name in self._flat_weights_names]

    def ignored(self: Any, weights: list[Tensor | None]) -> None:
        """Torch assigns the list where it builds or moves the module."""

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        # cuDNN differentiates a recurrent layer in training mode alone, and signals need gradients in evaluation mode.
        without_cudnn = torch.is_grad_enabled() and not self.training and next(self.parameters()).is_cuda
        with torch.backends.cudnn.flags(enabled=False) if without_cudnn else nullcontext():
            return kind.forward(self, *args, **kwargs)

    added = {"_flat_weights": property(looked_up, ignored), "forward": forward, "__module__": kind.__module__}
    return type(kind.__name__, (kind,), added)
