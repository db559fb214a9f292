"""`Shifts`: correction of the shifts that quantization causes in the mean and variance of every channel, measured on the same images.

    BatchNorm:          mean ← mean_q − (mean_f − mean) · σ_q/σ_f,  variance ← variance · (σ_q/σ_f)²
    bias, without one:  bias ← bias − (mean_q − mean_f)

so that after a BatchNorm every channel has the mean and variance over the images that it has in the float network, regardless of the
images on which the statistics were collected.

Source: bias correction of Nagel, van Baalen, Blankevoort, Welling: Data-Free Quantization Through Weight Equalization and Bias Correction,
ICCV 2019, arXiv 1906.04721, section 4.2, measured on images and extended to the variance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.core.layer import Layer
from mpsearch.network.batchnorm import running_norms
from mpsearch.network.modes import temporarily
from mpsearch.network.observe import hooked

__all__ = ["Shifts"]

_SMALLEST = 1e-12
_LARGEST = 100.0
"""Bound on the factor of a variance, for channels that are nearly constant."""


class Shifts:
    """Two passes over the same images: one of the float architecture, `observing`, then one of the quantized network, `correcting`.

    Only the first call of a module in each pass counts. The second pass may be repeated, at another allocation.

    Args:
        architecture: the float network, in evaluation mode.
        model: the same under quantization, likewise.
        layers: those without BatchNorm have their biases corrected.
    """

    def __init__(self, architecture: nn.Module, model: nn.Module, layers: Sequence[Layer] = ()) -> None:
        self._architecture, self._model = architecture, model
        self._axes = dict.fromkeys(running_norms(model), 1)
        self._norms = frozenset(self._axes)
        for layer in layers:
            module = architecture.get_submodule(layer.module)
            if layer.bias_elements and not layer.norm and not layer.aliases:
                self._axes[layer.module] = -1 if isinstance(module, nn.Linear) else 1
        self._seen: dict[str, tuple[Tensor, Tensor]] = {}
        self._left: dict[str, tuple[Tensor, Tensor]] = {}
        self._paused = False

    def observing(self) -> AbstractContextManager[None]:
        """The pass of the float network."""
        return self._hooked(self._architecture, self._observe)

    def correcting(self) -> AbstractContextManager[None]:
        """The pass of the quantized network: each module is corrected when the pass reaches it, before the pass continues."""
        self._left = dict(self._seen)
        return self._hooked(self._model, self._correct)

    def paused(self) -> AbstractContextManager[None]:
        """Ignore other passes that run in the middle of one."""
        return temporarily([self], "_paused", True)

    def _hooked(self, model: nn.Module, visit: Callable[[str, Any, Tensor], Tensor | None]) -> AbstractContextManager[None]:
        def before(path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not self._paused:
                visit(path, module, args[0])

        def after(path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor | None:
            return None if self._paused else visit(path, module, output)

        return hooked(
            before=[(model.get_submodule(path), partial(before, path)) for path in self._axes if path in self._norms],
            after=[(model.get_submodule(path), partial(after, path)) for path in self._axes if path not in self._norms],
        )

    def _observe(self, path: str, module: nn.Module, x: Tensor) -> None:
        self._seen.setdefault(path, _moments(x, self._axes[path]))

    def _correct(self, path: str, module: Any, x: Tensor) -> Tensor | None:
        if path not in self._left:
            return None
        axis = self._axes[path]
        (mean, variance), (mean_f, variance_f) = _moments(x, axis), self._left.pop(path)
        if path not in self._norms:
            module.bias -= mean - mean_f
            return x - (mean - mean_f).reshape([-1 if i == axis % x.dim() else 1 for i in range(x.dim())])
        ratio = (variance / variance_f.clamp_min(_SMALLEST)).clamp(1 / _LARGEST, _LARGEST)
        norm: Any = self._architecture.get_submodule(path)
        module.running_mean.copy_(mean - (mean_f - norm.running_mean) * ratio.sqrt())
        module.running_var.copy_(norm.running_var * ratio)
        return None


def _moments(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of every channel, float32 `[C]`; of a vector, itself and zeros."""
    if x.dim() == 1:
        return x.float(), torch.zeros_like(x, dtype=torch.float32)
    variance, mean = torch.var_mean(x.float(), [i for i in range(x.dim()) if i != axis % x.dim()], correction=0)
    return mean, variance
