"""`imagefolder:DIR`: images in a folder tree with one folder a class."""

from __future__ import annotations

import os
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import ClassVar

import torch

from mpsearch.core.errors import DataError
from mpsearch.core.progress import Progress
from mpsearch.data import DATA
from mpsearch.data.augment import CropFlip, Normalize
from mpsearch.data.base import Splits
from mpsearch.data.dataset_split import DatasetSplit
from mpsearch.data.fingerprint import content_digest
from mpsearch.data.image_dataset import ImageDataset, evaluation_transform, training_transform
from mpsearch.data.image_listing import ImageListing, list_images
from mpsearch.data.image_memory import common_size, load_pixels
from mpsearch.data.source import DataSource, option_error, require_fraction, require_one_of
from mpsearch.data.split import Split
from mpsearch.data.stratify import Indices, stratified_order, stratified_split
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.tasks.task import Task

__all__ = ["ImageFolder"]

_DEFAULT_SIZE = 224
_AUGMENT = ("auto", "crop-flip", "resized-crop-flip", "none")


@DATA.register("imagefolder")
@dataclass(frozen=True, kw_only=True)
class ImageFolder(DataSource):
    """RGB images, `(pixel/255 − mean)/std`, float32 `[N, 3, H, W]`.

    Images of one size that take at most 2 GB are decoded once and kept in memory and in the cache; others are decoded when needed.

    Args:
        validation: share of the training images held out for trials, stratified by class; ignored if there are both `val/` and `test/`.
        test: share held out for the final figures if there is neither a `test/` nor a `val/` folder.
        images: largest number of training images to use, a stratified subset; all if not given.
        size: side of the network's square input; the images' own size if they all have the same, else 224.
        mean: mean of each channel; ImageNet's if not given.
        std: standard deviation of each channel; ImageNet's if not given.
        augment: `crop-flip` (zero padding by an eighth of the side, random crop, mirror), `resized-crop-flip` (random crop of random size,
            resized, mirror), `none`, or `auto`: the first for images in memory, else the second.
        workers: processes that decode images that are not in memory; one a core but at most 8 if not given.
    """

    description: ClassVar[str] = "imagefolder:DIR with train/<class>/* and test/<class>/* (or val/), or <class>/* alone"
    paper: ClassVar[str] = ""

    validation: float = 0.1
    test: float = 0.2
    images: int | None = None
    size: int | None = None
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    augment: str = "auto"
    workers: int | None = None

    def __post_init__(self) -> None:
        require_fraction("validation", self.validation)
        require_fraction("test", self.test)
        require_one_of("augment", self.augment, _AUGMENT)
        for name, least in (("images", 1), ("size", 1), ("workers", 0)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < least):
                raise option_error(name, f"must be a whole number of at least {least}, got {value!r}")
        for name in ("mean", "std"):
            object.__setattr__(self, name, _three_numbers(name, getattr(self, name)))
        if min(self.std) <= 0:
            raise option_error("std", f"must be above zero, got {list(self.std)}")

    def load(self, path: str | None, *, seed: int, progress: Progress) -> Splits:
        """List and split the images, and decode them if they are small; see `DataSource`."""
        if not path:
            raise DataError("imagefolder needs a folder; write imagefolder:DIR")
        listing = list_images(Path(path).expanduser())
        rows = self._split(listing, seed)
        parts = self._in_memory(listing, rows, progress) or self._lazy(listing, rows)
        return Splits(
            name=f"imagefolder:{path}",
            **parts,
            classes=listing.classes,
            task=Task.classification(),
            fingerprint=content_digest([listing.content, *astuple(self)[:-1], *(rows[name].tobytes() for name in sorted(rows))]),
        )

    def _split(self, listing: ImageListing, seed: int) -> dict[str, Indices]:
        rows = dict(listing.parts)
        missing = [name for name in ("test", "validation") if name not in rows]
        if missing:
            train = rows["train"]
            cut = stratified_split(listing.targets[train], [getattr(self, name) for name in missing], seed)
            for name, chosen in zip([*missing, "train"], cut, strict=True):
                rows[name] = train[chosen]
        if self.images is not None:
            train = rows["train"]
            rows["train"] = train[stratified_order(listing.targets[train], seed)[: self.images]]
        return rows

    def _in_memory(self, listing: ImageListing, rows: dict[str, Indices], progress: Progress) -> dict[str, Split] | None:
        if self.augment == "resized-crop-flip":
            return None
        size = common_size(listing)
        if size is None or (self.size is not None and size != (self.size, self.size)):
            return None
        pixels = load_pixels(listing, size, progress)
        if pixels is None:
            return None
        augment = None if self.augment == "none" else CropFlip(max(1, min(size) // 8))
        whole = TensorSplit(pixels, torch.from_numpy(listing.targets), augment=augment, transform=Normalize(self.mean, self.std))
        return {name: whole.with_rows(torch.from_numpy(chosen)) for name, chosen in rows.items()}

    def _lazy(self, listing: ImageListing, rows: dict[str, Indices]) -> dict[str, Split]:
        size = self.size or _DEFAULT_SIZE
        augment = "resized-crop-flip" if self.augment == "auto" else self.augment
        clean = ImageDataset(listing, evaluation_transform(size, augment, self.mean, self.std))
        augmented = ImageDataset(listing, training_transform(size, augment, self.mean, self.std))
        workers = min(8, os.cpu_count() or 1) if self.workers is None else self.workers
        whole = DatasetSplit(clean, augmented=augmented, workers=workers)  # all parts share its processes
        return {name: whole.with_rows(torch.from_numpy(chosen)) for name, chosen in rows.items()}


def _three_numbers(name: str, value: object) -> tuple[float, ...]:
    if isinstance(value, list | tuple) and len(value) == 3 and all(isinstance(number, int | float) for number in value):
        return tuple(float(number) for number in value)
    raise option_error(name, f"must be three numbers, one a channel, got {value!r}")
