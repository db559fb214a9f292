"""`Shifts`: what quantization does to the mean and variance of every channel, seen on the same images, and taken back.

    BatchNorm:          mean ← mean_q − (mean_f − mean) · σ_q/σ_f,  variance ← variance · (σ_q/σ_f)²
    bias, without one:  bias ← bias − (mean_q − mean_f)

so that behind a BatchNorm every channel has the mean and variance over the images that the float network gives it, whatever images its
statistics were collected on.

Source: bias correction of Nagel, van Baalen, Blankevoort, Welling: Data-Free Quantization Through Weight Equalization and Bias Correction,
ICCV 2019, arXiv 1906.04721, section 4.2, measured on images and extended to the variance.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.network.network import Network

__all__ = ["Shifts"]

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_SMALLEST = 1e-12
_LARGEST = 100.0
"""Factor on a variance: a channel that was all but constant is no measure."""


class Shifts:
    """Two passes over the same images: float, `observing`, then quantized, `correcting`; only a module's first call counts.

    Args:
        network: in evaluation mode.
    """

    def __init__(self, network: Network) -> None:
        self._norms = {m: None for m in network.model.modules() if isinstance(m, _NORMS) and m.track_running_stats}
        self._biased: dict[nn.Module, int] = {}
        for layer in network.space.layers:
            module = network.model.get_submodule(layer.module)
            if not layer.norm and not layer.aliases and layer.parameter == "weight" and isinstance(getattr(module, "bias", None), Tensor):
                self._biased[module] = -1 if isinstance(module, nn.Linear) else 1
        self._seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    @contextmanager
    def observing(self) -> Iterator[None]:
        """The pass of the float network."""
        with ExitStack() as hooks:
            for norm in self._norms:
                hooks.callback(norm.register_forward_pre_hook(self._observe_norm).remove)
            for module in self._biased:
                hooks.callback(module.register_forward_hook(self._observe_output).remove)
            yield

    @contextmanager
    def correcting(self) -> Iterator[None]:
        """The pass of the quantized network: each module is corrected when the pass reaches it, and the pass goes on corrected."""
        with ExitStack() as hooks:
            for norm in self._norms:
                hooks.callback(norm.register_forward_pre_hook(self._correct_norm).remove)
            for module in self._biased:
                hooks.callback(module.register_forward_hook(self._correct_output).remove)
            yield

    def _observe_norm(self, norm: nn.Module, args: tuple[Any, ...]) -> None:
        self._seen.setdefault(norm, _moments(args[0], 1))

    def _observe_output(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        self._seen.setdefault(module, _moments(output, self._biased[module]))

    def _correct_norm(self, norm: Any, args: tuple[Any, ...]) -> None:
        if norm in self._seen:
            mean_f, variance_f = self._seen.pop(norm)
            mean, variance = _moments(args[0], 1)
            ratio = (variance / variance_f.clamp_min(_SMALLEST)).clamp(1 / _LARGEST, _LARGEST)
            norm.running_mean.copy_(mean - (mean_f - norm.running_mean) * ratio.sqrt())
            norm.running_var *= ratio

    def _correct_output(self, module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor:
        if module not in self._seen:
            return output
        axis = self._biased[module]
        shift = _moments(output, axis)[0] - self._seen.pop(module)[0]
        module.bias -= shift
        return output - shift.reshape([-1 if i == axis % output.dim() else 1 for i in range(output.dim())])


def _moments(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of every channel, float32 `[C]`."""
    variance, mean = torch.var_mean(x.float(), [i for i in range(x.dim()) if i != axis % x.dim()], correction=0)
    return mean, variance
