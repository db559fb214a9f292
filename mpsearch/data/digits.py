"""`digits`: the 1,797 handwritten digits of 8×8 pixels that ship with scikit-learn; no download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from mpsearch.core.errors import ConfigError, DataError
from mpsearch.core.progress import Progress
from mpsearch.data import DATA
from mpsearch.data.augment import CropFlip, Normalize
from mpsearch.data.base import Splits
from mpsearch.data.fingerprint import content_digest
from mpsearch.data.source import DataSource, require_fraction, require_one_of
from mpsearch.data.stratify import stratified_split
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.tasks.task import Task

__all__ = ["Digits"]

# Pixels range from 0 to 16. Mean and standard deviation of pixel/16 are constants over all images, so that the split does not change them.
_WHITE = 16.0
_MEAN, _STD = 0.3053, 0.3760


@DATA.register("digits")
@dataclass(frozen=True, kw_only=True)
class Digits(DataSource):
    """Float32 `[N, 1, 8, 8]`, `(pixel/16 − 0.3053)/0.3760`; the seed splits them, stratified by class.

    Args:
        validation: share of all images held out for trials.
        test: share of all images held out for the final figures.
        augment: `none`, or `shift`, which moves training images by up to one pixel each way. At 8×8 that is a lot; train longer.
    """

    description: ClassVar[str] = "1,797 grey digits of 8x8 pixels in 10 classes, embedded"
    paper: ClassVar[str] = "Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998"

    validation: float = 0.15
    test: float = 0.25
    augment: str = "none"

    def __post_init__(self) -> None:
        require_fraction("validation", self.validation)
        require_fraction("test", self.test)
        require_one_of("augment", self.augment, ("none", "shift"))
        if self.validation + self.test >= 1:
            raise ConfigError(
                f"data.options: validation and test take {self.validation + self.test:g} of the images; leave some for training",
                path="data.options",
            )

    def load(self, path: str | None, *, seed: int, progress: Progress) -> Splits:
        """Load and split the digits; see `DataSource`."""
        from sklearn.datasets import load_digits

        if path is not None:
            raise DataError(f"digits are embedded and take no folder, got '{path}'; write 'digits', or 'imagefolder:{path}'")
        bunch = load_digits()
        x = torch.from_numpy(bunch.images).to(torch.uint8).unsqueeze(1)
        y = torch.from_numpy(bunch.target).to(torch.int64)
        test, validation, train = stratified_split(y.numpy(), (self.test, self.validation), seed)
        whole = TensorSplit(
            x, y, augment=CropFlip(1, flip=False) if self.augment == "shift" else None, transform=Normalize((_MEAN,), (_STD,), scale=_WHITE)
        )
        parts = {name: torch.from_numpy(rows) for name, rows in (("train", train), ("validation", validation), ("test", test))}
        return Splits(
            name="digits",
            classes=tuple(str(label) for label in bunch.target_names),
            task=Task.classification(),
            fingerprint=content_digest([x, y, self, *parts.values()]),
            **{name: whole.with_rows(rows) for name, rows in parts.items()},
        )
