"""Sampled input patches of a layer, as rows, and the corresponding outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpsearch.core.layer import Layer

__all__ = ["Patches", "has_patches", "is_conv1d"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_PADDING = {"zeros": "constant"}


class Patches:
    """Sampled positions in one layer's output, the same in every pass.

    Args:
        module: convolution (grouped too) or linear layer, Hugging Face's `Conv1D` too.
        shape: of its output; one axis alone, of a linear layer that is fed a vector, is one sample.
        places: maximum number of positions per sample.
        seed: seed of the sampling.
    """

    def __init__(self, module: nn.Module, shape: Sequence[int], places: int, seed: int = 0) -> None:
        self._module = module
        shape = tuple(shape) if len(shape) > 1 else (1, *shape)
        samples, *extent = (shape[0], *shape[2:]) if isinstance(module, _CONVOLUTIONS) else shape[:-1]
        self.groups = module.groups if isinstance(module, _CONVOLUTIONS) else 1
        total = math.prod(extent)
        if total <= places:
            picked = torch.arange(total).expand(samples, -1)
        else:
            generator = torch.Generator().manual_seed(seed)
            picked = torch.randint(total, (samples, places), generator=generator)
        index = [torch.arange(samples).repeat_interleave(picked.shape[1])]
        rest = picked.reshape(-1)
        for size in reversed(extent):
            index.insert(1, rest % size)
            rest = rest // size
        self._index = tuple(index)

    @classmethod
    def fit(cls, module: nn.Module) -> bool:
        """Whether the module's output is a product of weight rows and patches."""
        return isinstance(module, _CONVOLUTIONS) or type(module).forward is nn.Linear.forward or is_conv1d(module)

    def outputs(self, y: Tensor) -> Tensor:
        """Outputs at the positions, `[G, M, C/G]`."""
        return self._grouped(y.movedim(1, -1)[self._index] if isinstance(self._module, _CONVOLUTIONS) else _samples(y)[self._index])

    def inputs(self, x: Tensor) -> Tensor:
        """Input patches at the positions, `[G, M, d]`."""
        module = self._module
        if not isinstance(module, _CONVOLUTIONS):
            return self._grouped(_samples(x)[self._index])
        x = F.pad(x, _margins(module), mode=_PADDING.get(module.padding_mode, module.padding_mode))
        extents = zip(module.kernel_size, module.stride, module.dilation, strict=True)
        for axis, (kernel, stride, dilation) in enumerate(extents):
            x = x.unfold(2 + axis, (kernel - 1) * dilation + 1, stride)[..., ::dilation]
        rows = x.movedim(1, 1 + len(module.kernel_size))[self._index]  # [N, places…, C, kernel…] → [M, C, kernel…]
        return self._grouped(rows.flatten(1))

    def _grouped(self, rows: Tensor) -> Tensor:
        return rows.float().reshape(len(rows), self.groups, -1).transpose(0, 1)


def has_patches(model: nn.Module, layer: Layer) -> bool:
    """Whether rounding of a layer can be compensated: its output is a product of weight rows and patches, and no other module's too."""
    module = model.get_submodule(layer.module)
    known = layer.axes is None or (is_conv1d(module) and layer.axes == (1,))
    return known and not layer.aliases and Patches.fit(module)


def is_conv1d(module: nn.Module) -> bool:
    """Whether it is Hugging Face's `Conv1D`: a linear layer with its weight transposed, `[inputs, outputs]`."""
    return type(module).__name__ == "Conv1D" and type(module).__module__ == "transformers.pytorch_utils"


def _samples(x: Tensor) -> Tensor:
    return x if x.dim() > 1 else x.unsqueeze(0)


def _margins(module: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> list[int]:
    """For `F.pad`: last axis first, before and after."""
    margins: list[int] = []
    for axis in reversed(range(len(module.kernel_size))):
        if isinstance(module.padding, str):
            total = 0 if module.padding == "valid" else module.dilation[axis] * (module.kernel_size[axis] - 1)
            margins += [total // 2, total - total // 2]
        else:
            margins += [module.padding[axis]] * 2
    return margins
