"""`torchvision/NAME`: torchvision's classification networks, untrained; published weights are loaded from a file.

Every other torchvision network is available as `torchvision.models:NAME`.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from mpsearch.models import MODELS
from mpsearch.models.factory import ModelFactory

__all__: list[str] = []

_PAPERS = {
    "convnext_tiny": "Liu et al., A ConvNet for the 2020s, CVPR 2022, arXiv 2201.03545",
    "efficientnet_b0": "Tan and Le, EfficientNet, ICML 2019, arXiv 1905.11946",
    "mobilenet_v2": "Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018, arXiv 1801.04381",
    "mobilenet_v3_large": "Howard et al., Searching for MobileNetV3, ICCV 2019, arXiv 1905.02244",
    "regnet_y_400mf": "Radosavovic et al., Designing Network Design Spaces, CVPR 2020, arXiv 2003.13678",
    "resnet18": "He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv 1512.03385",
    "resnet34": "He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv 1512.03385",
    "resnet50": "He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv 1512.03385",
    "shufflenet_v2_x1_0": "Ma et al., ShuffleNet V2, ECCV 2018, arXiv 1807.11164",
    "vit_b_16": "Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021, arXiv 2010.11929",
}


def _build(name: str, classes: int = 1000) -> nn.Module:
    from torchvision.models import get_model

    model: nn.Module = get_model(name, weights=None, num_classes=classes)
    return model


for _name, _paper in _PAPERS.items():
    MODELS.register(f"torchvision/{_name}")(
        ModelFactory(
            build=partial(_build, _name),
            example_shape=(3, 224, 224),
            description=f"torchvision's {_name}, untrained; option classes (1000); published weights by --weights FILE",
            paper=_paper,
        )
    )
