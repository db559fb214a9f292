"""Weights as rows `[rows, weights that share a scale]`, the layout of quantizers, signals and packed codes for every kind of layer.

| kind | weight | output channels |
|---|---|---|
| Linear, Conv (grouped, depthwise), attention | `[C, …]` | axis 0: a view |
| transposed Conv, g groups | `[in, C/g, …]` | group × axis 1 |
| Embedding | `[vocabulary, C]` | axis 1: the features |

With per-channel scales a row is an output channel; with groups a channel is several rows; with one scale per tensor there is one row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from mpsearch.core.number_format import Granularity

__all__ = ["Rows"]


@dataclass(frozen=True)
class Rows:
    """How one weight becomes rows and back.

    Args:
        kind: `first` (axis 0 is the output channel), `transposed`, or `embedding`.
        shape: of the weight.
        groups: of a transposed convolution.
        granularity: what shares a scale; groups divide the weights of a channel.
    """

    kind: str
    shape: tuple[int, ...]
    groups: int = 1
    granularity: Granularity = "channel"

    @classmethod
    def of(cls, module: nn.Module, weight: Tensor, granularity: Granularity = "channel") -> Rows:
        """The layout of `weight` in `module`."""
        shape = tuple(weight.shape)
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
        return self.shape[1] * self.groups

    @property
    def count(self) -> int:
        """Number of rows; each has one scale."""
        if self.granularity == "channel":
            return self.channels
        return 1 if self.granularity == "tensor" else math.prod(self.shape) // self.granularity

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
        return weight.reshape(self.groups, -1, *self.shape[1:]).transpose(1, 2).flatten(0, 1).flatten(1)

    def _join(self, rows: Tensor) -> Tensor:
        if self.kind == "first":
            return rows.view(self.shape)
        if self.kind == "embedding":
            return rows.t()
        per_group = rows.view(self.groups, self.shape[1], self.shape[0] // self.groups, *self.shape[2:])
        return per_group.transpose(1, 2).reshape(self.shape)
