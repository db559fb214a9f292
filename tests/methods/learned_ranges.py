"""Networks and quantizers of `learned_range` and of what derives from it."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import Space
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.methods.learned_range import LearnedRange
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.grid import weight_grid
from mpsearch.tasks.task import Task
from mpsearch.training.loop import Hooks, train
from mpsearch.training.recipe import Recipe
from tests.networks import Depthwise, trained_statistics

CPU = torch.device("cpu")
TASK = Task.classification()
SPACE = Space(name="all", weights=(1, 2, 3, 4, 6, 8, FLOAT_BITS), activations=(2, 4, 8, FLOAT_BITS))


def data() -> TensorSplit:
    x = torch.randn(96, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return TensorSplit(x, (x.mean((1, 2, 3)) > 0).long())


def attached(method: LearnedRange) -> Network:
    torch.manual_seed(0)
    model, x = trained_statistics(Depthwise()), data().x
    space = SPACE.resolve(trace(model, x))
    return Network(model, space, Calibration.fit(model, space, [x]), method)


def trained(method: LearnedRange, choice: Choice, epochs: int = 12, lr: float = 0.02, optimizer: Any = "sgd") -> Network:
    network = attached(method)
    network.begin(network.space.uniform(choice))
    recipe = Recipe(epochs=epochs, batch_size=16, lr=lr, precision="float32", reestimate=96, optimizer=optimizer)
    train(network.model, network.quantizer_parameters(), data(), TASK, recipe, device=CPU, seed=0, hooks=Hooks.of(method, network))
    return network


def weight_quantizer(method: LearnedRange, steps: Tensor, bits: int, weight: Tensor) -> Any:
    quantizer = method.weight_quantizer(Rows("first", tuple(weight.shape)))
    quantizer.set_grid(bits, weight_grid(bits, method.grid))
    with torch.no_grad():
        quantizer.begin(weight, steps)
    return cast(Any, quantizer)


def mean_bits(network: Network, learned: dict[str, float]) -> float:
    sizes = {layer.name: layer.weights for layer in network.space.layers}
    return sum(sizes[name] * bits for name, bits in learned.items()) / sum(sizes.values())
