"""`resnet18_small`: torchvision's ResNet-18 with a stem for small images, which does not downsample.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016, arXiv 1512.03385, table 1.
"""

from __future__ import annotations

from torch import nn

from mpsearch.models import MODELS
from mpsearch.models.factory import ModelFactory

__all__ = ["resnet18_small"]


def resnet18_small(in_channels: int = 1, classes: int = 10) -> nn.Module:
    """ResNet-18 whose first convolution is 3×3 at stride 1, without the max pooling after it: 11.2 M weights, 44.7 MB in float32."""
    from torchvision.models import resnet18

    model: nn.Module = resnet18(num_classes=classes)
    model.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    return model


MODELS.register("resnet18_small")(
    ModelFactory(
        build=resnet18_small,
        example_shape=(1, 8, 8),
        description="ResNet-18 with a stem for small images, 11.2 M weights; options in_channels, classes",
        paper="He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv 1512.03385",
    )
)
