"""Weights as rows: every quantizer, signal and packer sees `[channels, weights of one output channel]`, whatever the layer is.

| kind | weight | output channels |
|---|---|---|
| Linear, Conv (grouped, depthwise), attention | `[C, …]` | axis 0: a view |
| transposed Conv, g groups | `[in, C/g, …]` | group × axis 1 |
| Embedding | `[vocabulary, C]` | axis 1: the features |
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

__all__ = ["Rows"]


@dataclass(frozen=True)
class Rows:
    """How one weight becomes rows and back.

    Args:
        kind: `first` (axis 0 is the output channel), `transposed`, or `embedding`.
        shape: of the weight.
        groups: of a transposed convolution.
    """

    kind: str
    shape: tuple[int, ...]
    groups: int = 1

    @classmethod
    def of(cls, module: nn.Module, weight: Tensor) -> Rows:
        """The layout of `weight` in `module`."""
        shape = tuple(weight.shape)
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            return cls("embedding", shape)
        if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            return cls("transposed", shape, module.groups)
        return cls("first", shape)

    @property
    def channels(self) -> int:
        """Output channels: rows."""
        if self.kind == "first":
            return self.shape[0]
        return self.shape[1] * self.groups

    def split(self, weight: Tensor) -> Tensor:
        """Weight → `[channels, n]`."""
        if self.kind == "first":
            return weight.flatten(1)
        if self.kind == "embedding":
            return weight.t()
        return weight.reshape(self.groups, -1, *self.shape[1:]).transpose(1, 2).flatten(0, 1).flatten(1)

    def join(self, rows: Tensor) -> Tensor:
        """`[channels, n]` → weight."""
        if self.kind == "first":
            return rows.view(self.shape)
        if self.kind == "embedding":
            return rows.t()
        per_group = rows.view(self.groups, self.shape[1], self.shape[0] // self.groups, *self.shape[2:])
        return per_group.transpose(1, 2).reshape(self.shape)
