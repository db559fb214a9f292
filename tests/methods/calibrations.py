"""Networks whose method calibrates them, and the loss that it lowers."""

from __future__ import annotations

from typing import Any

import torch

from mpsearch.core.allocation import Allocation
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import Space
from mpsearch.methods.base import Method
from mpsearch.methods.gptq import Gptq
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.tasks.task import Task
from tests.networks import NETWORKS, trained_statistics

TASK = Task.classification()
SPACE = Space(name="all", weights=(1, 2, 3, 4, 8, FLOAT_BITS), activations=(4, 8, FLOAT_BITS))


class Loss:
    """As the engine hands it over."""

    def __init__(self, network: Network, inputs: list[Any]) -> None:
        self.network, self.inputs = network, inputs
        self.drawn: Any = lambda images, views: inputs * (1 + views)
        with torch.no_grad():
            self.reference = [call(network.architecture, x) for x in inputs]

    def __call__(self) -> float:
        with torch.no_grad():
            apart = [TASK.divergence(r, call(self.network.model, x)) for x, r in zip(self.inputs, self.reference, strict=True)]
        return float(torch.cat(apart).mean())


def attached(name: str = "depthwise", method: Method | None = None) -> tuple[Network, Loss]:
    torch.manual_seed(0)
    build, inputs = NETWORKS[name]
    model = trained_statistics(build())
    batches = [inputs() for _ in range(8)]
    space = SPACE.resolve(trace(model, batches[0]))
    network = Network(model, space, Calibration.fit(model, space, batches), method or Gptq())
    return network, Loss(network, batches)


def calibrated(network: Network, loss: Loss, allocation: Allocation) -> float:
    network.begin(allocation)
    network.model.eval()
    with torch.no_grad():
        network.method.calibrate(network, loss)  # type: ignore[attr-defined]
    return loss()
