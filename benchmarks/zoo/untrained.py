"""MobileNetV3-Small of torchvision with random weights: the mechanics alone (depthwise convolutions, squeeze-and-excitation, hard swish).

Pictures are random textures of several scales; what is wanted is what the float network says. Metric: the squared distance of the ten
outputs from those of the float network, over their variance between pictures, in percent.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.zoo.case import Case, Samples, load_package, outputs_of
from mpsearch.tasks.task import Task

__all__ = ["build"]

SIDE = 48
SIZES = (160, 64, 160)


def build() -> Case:
    """The network with statistics of its BatchNorms from the training pictures, so that its outputs differ between pictures."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(22)
        model: nn.Module = load_package("torchvision.models").mobilenet_v3_small(num_classes=10)
        pictures = _textures(sum(SIZES))
    splits = torch.split(pictures, list(SIZES))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all that is seen
    with torch.no_grad():
        model.train()(splits[0])
    model.eval()
    train, validation, test = (Samples([part], outputs_of(model, [part])) for part in splits)
    spread = float(test.targets.var(0).sum())

    def off(outputs: Tensor, wanted: Tensor) -> Tensor:
        return 100 * (outputs.float() - wanted).square().sum(1) / spread

    return Case(
        model=model,
        train=train,
        validation=validation,
        test=test,
        task=Task.custom(loss=lambda outputs, wanted: off(outputs, wanted).mean(), metric=off, metric_name="% of variance from float"),
        gap="distance",
        epochs=2,
        lr=3e-4,
        images=64,
        trials=6,
    )


def _textures(count: int) -> Tensor:
    """Noise of five scales, each of random strength and colour: `[N, 3, 48, 48]`."""
    total = torch.zeros(count, 3, SIDE, SIDE)
    for cells in (1, 3, 6, 12, 24):
        noise = torch.randn(count, 3, cells, cells) * torch.rand(count, 1, 1, 1)
        total += F.interpolate(noise, size=(SIDE, SIDE), mode="bicubic", align_corners=False) if cells > 1 else noise
    return total
