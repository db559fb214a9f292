"""Vectorised transforms of image batches: normalisation, random crops and flips."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["CropFlip", "Normalize"]


@dataclass(frozen=True)
class Normalize:
    """`(x/scale − mean) / std` by channel.

    Args:
        mean: C numbers, in units of `x/scale`.
        std: C numbers above zero.
        scale: the value of white, 255 for bytes.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 255.0

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise `[B, C, H, W]` of any dtype; returns float32."""
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return x.to(torch.float32, copy=True).mul_(1 / (self.scale * std)).sub_(mean / std)


@dataclass(frozen=True)
class CropFlip:
    """Shift each image by up to `padding` pixels each way, padded with zeros, and mirror half of them.

    Args:
        padding: largest shift, in pixels.
        flip: whether to mirror left to right, with probability 1/2.
    """

    padding: int
    flip: bool = True

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Augment `[B, C, H, W]`; shape and dtype stay."""
        count, _, height, width = x.shape
        padded = F.pad(x, (self.padding,) * 4)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        down, right = torch.randint(2 * self.padding + 1, (2, count), generator=generator)
        cropped = windows[torch.arange(count), :, down, right]
        if not self.flip:
            return cropped
        mirrored = torch.rand(count, generator=generator) < 0.5
        return torch.where(mirrored.view(-1, 1, 1, 1), cropped.flip(3), cropped)
