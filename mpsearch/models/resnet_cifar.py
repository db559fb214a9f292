"""`resnet20_cifar` and deeper variants: residual networks for 32×32 images.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016, arXiv 1512.03385, section 4.2; with 1×1 convolutions on the
shortcuts that change shape (option B) and torchvision's module names.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mpsearch.core.errors import ModelError
from mpsearch.models import MODELS
from mpsearch.models.factory import ModelFactory

__all__ = ["CifarResNet", "resnet_cifar"]


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """`relu(shortcut(x) + residual(x))`."""
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(residual + shortcut)


class CifarResNet(nn.Module):
    """A 3×3 stem, three stages of 16, 32 and 64 channels, average pooling, one linear layer.

    Args:
        blocks: residual blocks a stage, n; the depth is 6n + 2.
        classes: number of outputs.
        in_channels: channels of the images.
    """

    def __init__(self, blocks: int, classes: int, in_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.fc = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Images `[B, in_channels, H, W]` → logits `[B, classes]`."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = _Block(inputs, outputs, stride)
    return nn.Sequential(first, *(_Block(outputs, outputs, 1) for _ in range(blocks - 1)))


def resnet_cifar(depth: int = 20, classes: int = 10, in_channels: int = 3) -> CifarResNet:
    """A residual network of 6n + 2 layers: ResNet-20, -32, -44, -56, -110.

    Raises:
        ModelError: the depth is not 6n + 2.
    """
    blocks, odd = divmod(depth - 2, 6)
    if odd or blocks < 1:
        raise ModelError(f"depth {depth} is not 6n + 2; take 20, 32, 44, 56 or 110")
    return CifarResNet(blocks, classes, in_channels)


MODELS.register("resnet20_cifar")(
    ModelFactory(
        build=resnet_cifar,
        example_shape=(3, 32, 32),
        description="ResNet-20 for 32x32 images, 0.27 M weights; options depth, classes, in_channels",
        paper="He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv 1512.03385, section 4.2",
    )
)
