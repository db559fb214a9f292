"""The three networks of MTCNN (facenet-pytorch 2.6.0): face or not, on photographs that scikit-image and scikit-learn ship.

Faces are the first 100 pictures of scikit-image's `lfw_subset` (25×25, grey), the others its second 100 and crops of four photographs
without people. Each picture is seen in several cuts, mirrored or not, some darker; cuts of one picture, and of one part of a photograph,
stay in one split. Metric: the share of cuts whose face probability is on the right side of one half.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.zoo.case import Case, Samples, load_package
from mpsearch.tasks.task import Task

__all__ = ["build", "face_or_not", "face_probability"]

SIDES = {"PNet": 12, "RNet": 24, "ONet": 48}
FACES = 100
CUTS = 6
CROPS = 25
"""Crops of each photograph in each split."""
PARTS = {"train": 0, "validation": 1, "test": 2}


def build(name: str) -> Case:
    """The network `PNet`, `RNet` or `ONet`."""
    side = SIDES[name]
    train, validation, test = (_split(part, side) for part in PARTS)
    return Case(
        model=getattr(load_package("facenet_pytorch"), name)().eval(),
        train=train,
        validation=validation,
        test=test,
        task=Task.custom(
            loss=lambda outputs, targets: F.binary_cross_entropy(face_probability(outputs).clamp(1e-6, 1 - 1e-6), targets.float()),
            metric=face_or_not,
            metric_name="accuracy",
            higher_is_better=True,
        ),
        gap="share",
        epochs=2,
        images=256,
    )


def face_probability(outputs: Sequence[Tensor]) -> Tensor:
    """The network's face probability `[N]`: the second of the two in its last output."""
    return outputs[-1].flatten(1)[:, 1].float()


def face_or_not(outputs: Sequence[Tensor], targets: Tensor) -> Tensor:
    """One for each picture `[N]` that is told rightly."""
    return ((face_probability(outputs) > 0.5) == (targets > 0.5)).float()


def _split(part: str, side: int) -> Samples:
    generator = np.random.default_rng((17, PARTS[part]))
    skimage, samples = load_package("skimage.data"), load_package("sklearn.datasets")
    grey = np.clip(skimage.lfw_subset(), 0, 1)
    # Thirds of the faces and of the rest; the test split has two of four.
    own = {"train": slice(0, 35), "validation": slice(35, 55), "test": slice(55, 100)}[part]
    cuts: list[np.ndarray] = []
    labels: list[int] = []
    for label, pictures in ((1, grey[:FACES][own]), (0, grey[FACES:][own])):
        for picture in pictures:
            cuts += [_cut(np.repeat(picture[..., None], 3, axis=2), 25, generator, least=0.88, side=side) for _ in range(CUTS)]
            labels += [label] * CUTS
    photographs = [samples.load_sample_image(name) / 255 for name in ("china.jpg", "flower.jpg")]
    photographs += [skimage.coffee() / 255, skimage.chelsea() / 255]
    for photograph in photographs:
        height = photograph.shape[0] // 3
        strip = photograph[PARTS[part] * height : (PARTS[part] + 1) * height]
        cuts += [_cut(strip, min(strip.shape[:2]), generator, least=0.25, side=side) for _ in range(CROPS)]
        labels += [0] * CROPS
    # As MTCNN scales what it sees.
    inputs = torch.tensor((np.stack(cuts) * 255 - 127.5) / 128).float()
    return Samples([inputs], torch.tensor(labels))


def _cut(picture: np.ndarray, whole: int, generator: np.random.Generator, *, least: float, side: int) -> np.ndarray:
    """A square of `least` to all of `whole` pixels, at `side`×`side`: `[3, side, side]`; some mirrored, some darker."""
    edge = round(whole * generator.uniform(least, 1.0))
    top, left = (int(generator.integers(0, length - edge + 1)) for length in picture.shape[:2])
    square = torch.tensor(picture[top : top + edge, left : left + edge]).permute(2, 0, 1).float()[None]
    if generator.random() < 0.5:
        square = square.flip(-1)
    sized = F.interpolate(square, size=(side, side), mode="bilinear", antialias=True, align_corners=False)[0]
    return (sized * float(generator.uniform(0.67, 1.0))).numpy()
