"""Which modules are put right together."""

from __future__ import annotations

from torch import nn

from mpsearch.models.resnet_cifar import resnet_cifar
from mpsearch.network.blocks import blocks
from tests.networks import NETWORKS


def names(model: nn.Module, *kinds: type[nn.Module]) -> list[str]:
    layers = [module for module in model.modules() if isinstance(module, kinds)]
    paths = {module: path for path, module in model.named_modules()}
    return [paths[block] for block in blocks(model, layers)]


def test_residual_blocks_and_the_layers_around_them() -> None:
    stages = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(3)]
    assert names(resnet_cifar(), nn.Conv2d, nn.Linear) == ["conv1", *stages, "fc"]


def test_containers_and_the_model_itself_join_nothing() -> None:
    assert names(nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))), nn.Linear) == ["0", "1.0", "1.1"]
    assert names(NETWORKS["depthwise"][0](), nn.Conv2d, nn.Linear) == ["stem", "depth", "grouped", "head"]


def test_the_innermost_of_nested_blocks() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = resnet_cifar()

    assert names(Wrapped(), nn.Conv2d)[:2] == ["backbone.conv1", "backbone.layer1.0"]


def test_every_layer_is_in_one_block() -> None:
    model = resnet_cifar()
    layers = {module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    found = [module for block in blocks(model, layers) for module in block.modules() if module in layers]
    assert len(found) == len(set(found)) == len(layers)
