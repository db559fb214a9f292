"""Images that differ in size or do not fit in memory: decoded when needed, resized and cropped by torchvision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mpsearch.data.image_file import read_image
from mpsearch.data.image_listing import ImageListing

__all__ = ["ImageDataset", "evaluation_transform", "training_transform"]

Transform = Callable[[Tensor], Tensor]

# The usual ImageNet evaluation resizes the shorter side to 256 and takes the central 224.
_MARGIN = 256 / 224


class ImageDataset(Dataset[Any]):
    """(float32 `[3, size, size]`, class) of every file in a listing.

    Args:
        listing: the files and their classes.
        transform: uint8 `[3, H, W]` → float32 `[3, size, size]`.
    """

    def __init__(self, listing: ImageListing, transform: Transform) -> None:
        self.listing = listing
        self.transform = transform

    def __len__(self) -> int:
        return len(self.listing.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = torch.from_numpy(read_image(self.listing.root / self.listing.files[index])).permute(2, 0, 1)
        return self.transform(image), int(self.listing.targets[index])


def evaluation_transform(size: int, augment: str, mean: tuple[float, ...], std: tuple[float, ...]) -> Transform:
    """Resize and take the central square; without a margin if training sees whole images, too (`crop-flip`)."""
    from torchvision.transforms import v2

    shorter = size if augment == "crop-flip" else round(size * _MARGIN)
    return _composed([v2.Resize(shorter, antialias=True), v2.CenterCrop(size)], mean, std)


def training_transform(size: int, augment: str, mean: tuple[float, ...], std: tuple[float, ...]) -> Transform:
    """Resize, augment as `augment` says and normalise; `none` is the evaluation transform."""
    from torchvision.transforms import v2

    if augment == "none":
        return evaluation_transform(size, augment, mean, std)
    if augment == "crop-flip":
        crop = [v2.Resize(size, antialias=True), v2.CenterCrop(size), v2.RandomCrop(size, padding=max(1, size // 8))]
    else:
        crop = [v2.RandomResizedCrop(size, antialias=True)]
    return _composed([*crop, v2.RandomHorizontalFlip()], mean, std)


def _composed(steps: list[Any], mean: tuple[float, ...], std: tuple[float, ...]) -> Transform:
    from torchvision.transforms import v2

    composed: Transform = v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(mean), list(std))])
    return composed
