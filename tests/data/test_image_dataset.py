from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mpsearch.data.image_dataset import ImageDataset, evaluation_transform, training_transform
from mpsearch.data.image_listing import list_images

MEAN, STD = (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)


def gradient(height: int, width: int) -> torch.Tensor:
    """uint8 `[3, H, W]`: the column in every channel, so that a crop or a flip can be read off."""
    return torch.arange(width, dtype=torch.uint8).expand(3, height, width).contiguous()


def columns(image: torch.Tensor) -> list[int]:
    """What `gradient` had in each column of the first row."""
    return ((image[0, 0] * STD[0] + MEAN[0]) * 255).round().int().tolist()


def test_items_are_files_with_their_class(tmp_path: Path) -> None:
    for seed, name in enumerate(("ant", "bee")):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((4, 6, 3), 10 * (seed + 1), dtype=np.uint8)).save(tmp_path / name / "1.png")
    dataset = ImageDataset(list_images(tmp_path), lambda image: image.float())
    assert len(dataset) == 2
    image, label = dataset[1]
    assert image.shape == (3, 4, 6)
    assert (image.unique().tolist(), label) == ([20.0], 1)


def test_evaluation_resizes_and_normalises() -> None:
    image = evaluation_transform(8, "crop-flip", MEAN, STD)(gradient(8, 12))
    assert image.shape == (3, 8, 8)
    assert image.dtype == torch.float32
    assert columns(image) == list(range(2, 10)), "the middle, without a margin"
    torch.testing.assert_close(image[2, 0, 0], (torch.tensor(2.0) / 255 - 0.6) / 0.3)


def test_evaluation_has_the_margin_of_imagenet_where_training_sees_parts_of_images() -> None:
    image = evaluation_transform(224, "resized-crop-flip", MEAN, STD)(gradient(256, 256))
    assert columns(image)[:3] == [16, 17, 18]


def test_crop_flip_shifts_within_an_eighth_and_mirrors() -> None:
    transform = training_transform(16, "crop-flip", MEAN, STD)
    torch.manual_seed(0)
    seen = {tuple(columns(transform(gradient(16, 16) + 1))) for _ in range(200)}
    plain = [0, 0, *range(1, 17), 0, 0]
    shifted = {tuple(plain[start : start + 16]) for start in range(5)}
    # A row of zeros is the padding above or below.
    assert seen - {(0,) * 16} == shifted | {tuple(reversed(row)) for row in shifted}


def test_resized_crop_is_random_and_none_is_not() -> None:
    image = gradient(32, 32)
    random = training_transform(8, "resized-crop-flip", MEAN, STD)
    assert not torch.equal(random(image), random(image))
    assert random(image).shape == (3, 8, 8)
    fixed = training_transform(8, "none", MEAN, STD)
    assert torch.equal(fixed(image), evaluation_transform(8, "none", MEAN, STD)(image))


@pytest.mark.parametrize("augment", ["crop-flip", "resized-crop-flip", "none"])
def test_images_smaller_than_the_side_are_enlarged(augment: str) -> None:
    assert training_transform(16, augment, MEAN, STD)(gradient(5, 7)).shape == (3, 16, 16)
