"""Weights as rows `[rows, weights that share a scale]`, the layout of quantizers, signals and packed codes for every kind of layer.

| kind | weight | output channels |
|---|---|---|
| Linear, Conv (grouped, depthwise), attention, recurrent | `[C, …]` | axis 0: a view |
| transposed Conv, g groups | `[in, C/g, …]` | group × axis 1 |
| Embedding | `[vocabulary, C]` | axis 1: the features; axis 0 where `mpsearch.network.lookup` gives each row a scale |
| a parameter that multiplies by itself | any | the axes its use shows: of `x @ W`, the last; of a batched `[B, in, out]`, 0 and 2 |

With per-channel scales a row is an output channel; with groups a channel is several rows; with one scale per tensor there is one row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import GROUP_OF, Granularity

__all__ = ["Rows"]


@dataclass(frozen=True)
class Rows:
    """How one weight becomes rows and back.

    Args:
        kind: `first` (axis 0 is the output channel), `transposed`, `embedding`, or `axes`.
        shape: of the weight.
        groups: of a transposed convolution.
        granularity: what shares a scale; groups divide the weights of a channel.
        axes: of the kind `axes`: where the output channels lie; none: the weight is one channel.
    """

    kind: str
    shape: tuple[int, ...]
    groups: int = 1
    granularity: Granularity = "channel"
    axes: tuple[int, ...] = ()

    @classmethod
    def of_layer(cls, model: nn.Module, layer: Layer, granularity: Granularity = "channel") -> Rows:
        """The layout of a layer's weight in a model."""
        module = model.get_submodule(layer.module)
        return cls.of(module, getattr(module, layer.parameter), granularity, layer.axes)

    @classmethod
    def of(cls, module: nn.Module, weight: Tensor, granularity: Granularity = "channel", axes: tuple[int, ...] | None = None) -> Rows:
        """The layout of `weight` in `module`; `axes`, if given, say where the output channels lie, whatever the module."""
        shape = tuple(weight.shape)
        if axes is not None:
            return cls("axes", shape, granularity=granularity, axes=axes)
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            return cls("embedding", shape, granularity=granularity)
        if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            return cls("transposed", shape, module.groups, granularity)
        return cls("first", shape, granularity=granularity)

    @property
    def channels(self) -> int:
        """Output channels."""
        if self.kind == "first":
            return self.shape[0]
        if self.kind == "axes":
            return math.prod(self.shape[axis] for axis in self.axes)
        return self.shape[1] * self.groups

    @property
    def count(self) -> int:
        """Number of rows; each has one scale."""
        if self.granularity == "channel":
            return self.channels
        if self.granularity == "tensor":
            return 1
        return math.prod(self.shape) // GROUP_OF[self.granularity]

    def split(self, weight: Tensor) -> Tensor:
        """Weight → `[count, n]`."""
        by_channel = self._split(weight)
        return by_channel if self.granularity == "channel" else by_channel.reshape(self.count, -1)

    def join(self, rows: Tensor) -> Tensor:
        """`[count, n]` → weight."""
        return self._join(rows if self.granularity == "channel" else rows.reshape(self.channels, -1))

    def spread(self, by_channel: Tensor) -> Tensor:
        """Values per output channel `[channels]` → values per row `[count]`; the first value if all channels are one row."""
        return by_channel[:1] if self.granularity == "tensor" else by_channel.repeat_interleave(self.count // self.channels)

    def _split(self, weight: Tensor) -> Tensor:
        if self.kind == "first":
            return weight.flatten(1)
        if self.kind == "embedding":
            return weight.t()
        if self.kind == "axes":
            return weight.movedim(self.axes, tuple(range(len(self.axes)))).reshape(self.channels, -1)
        return weight.reshape(self.groups, -1, *self.shape[1:]).transpose(1, 2).flatten(0, 1).flatten(1)

    def _join(self, rows: Tensor) -> Tensor:
        if self.kind == "first":
            return rows.view(self.shape)
        if self.kind == "embedding":
            return rows.t()
        if self.kind == "axes":
            others = [size for axis, size in enumerate(self.shape) if axis not in self.axes]
            in_front = rows.reshape([*(self.shape[axis] for axis in self.axes), *others])
            # Contiguous, as the parameter is: a forward pass may take any view of it.
            return in_front.movedim(tuple(range(len(self.axes))), self.axes).contiguous()
        per_group = rows.view(self.groups, self.shape[1], self.shape[0] // self.groups, *self.shape[2:])
        return per_group.transpose(1, 2).reshape(self.shape)
