"""`pdq` against the authors' training loop on given logits and activations.

The float network is one linear layer of unit weights, so that its logits are its input; the low logits are the batch's outputs.
`constraint="cross_entropy"` is theirs. Where we deviate:

- `constraint="divergence"`: the Lagrangian is lower by λ H(full), and so is its gradient by the full logits.
- d_l is relative: theirs times the number of entries over the sum of squares of the low layer's output; a Lagrangian here adds theirs.
  There is one eps for all layers, and no L1 norm: the layers of the set that has it are compared in their multipliers only.
- The excess is averaged over training batches while weights move; here, as in the file, the networks stand still.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpsearch.core.choice import Choice
from mpsearch.core.space import Space
from mpsearch.methods.base import Batch
from mpsearch.methods.pdq import Dual, Pdq, relative_distance
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.tasks.task import Task
from tests.gold import gold

SETS: list[Any] = gold("pdq")["cases"]
TASK = Task.classification()
sets = pytest.mark.parametrize(("inputs", "outputs"), [pytest.param(case["inputs"], case["outputs"], id=case["case"]) for case in SETS])


def network_of(method: Pdq, classes: int, output_dual: float) -> Network:
    model = nn.Sequential(nn.Linear(classes, classes, bias=False))
    model[0].weight.data.copy_(torch.eye(classes))
    x = torch.randn(8, classes, generator=torch.Generator().manual_seed(0))
    space = Space(name="one", weights=(2,), activations=(32,)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), method)
    network.begin(space.uniform(Choice(2)))
    network.model.train()
    output_dual_of(network).reset(output_dual)
    return network


def output_dual_of(network: Network) -> Dual:
    dual = network.weight_quantizer(network.space.layers[0]).get_submodule("output")
    assert isinstance(dual, Dual)
    return dual


def lagrangian(network: Network, full: Tensor, low: Tensor, targets: Tensor) -> Tensor:
    method = network.method
    assert isinstance(method, Pdq)
    loss = TASK.loss(low, targets)
    batch = Batch(inputs=full, targets=targets, outputs=low, loss=loss, task_loss=TASK.loss, divergence=TASK.divergence, progress=0.0)
    return method.objective(network, batch)


def of_batch(inputs: Any, k: int) -> tuple[Tensor, Tensor, Tensor]:
    full = torch.tensor(inputs["full_logits"][k], requires_grad=True)
    return full, torch.tensor(inputs["low_logits"][k]), torch.tensor(inputs["targets"][k])


def layers_of(inputs: Any, k: int) -> list[tuple[Tensor, Tensor]]:
    """Outputs of each layer at float and at low weights."""
    if not inputs["layerwise"]:
        return []
    pairs = zip(inputs["full_activations"][k], inputs["low_activations"][k], strict=True)
    return [(torch.tensor(full, requires_grad=True), torch.tensor(low)) for full, low in pairs]


def published_distance(full: Tensor, low: Tensor) -> Tensor:
    """Mean squared difference by way of ours."""
    return relative_distance(full, low) * low.square().mean()


@sets
@pytest.mark.parametrize("constraint", ["cross_entropy", "divergence"])
def test_the_lagrangian_and_its_gradients(inputs: Any, outputs: Any, constraint: Any) -> None:
    *layer_duals, output_dual = inputs["dual_start"]
    eps = inputs["eps_output"]
    for k, batch in enumerate(outputs["batches"]):
        full, low, targets = of_batch(inputs, k)
        network = network_of(Pdq(constraint=constraint, eps_output=eps), full.shape[1], output_dual)
        assert float(TASK.loss(full, targets).detach()) == pytest.approx(batch["task_loss"], rel=1e-5)
        value = lagrangian(network, full, low, targets)
        if constraint == "divergence":
            log_p = F.log_softmax(full, -1)
            value = value + output_dual * -(log_p.exp() * log_p).sum(-1).mean()
        value.backward()
        assert full.grad is not None
        torch.testing.assert_close(full.grad, torch.tensor(batch["grad_full_logits"]), rtol=1e-5, atol=1e-6)
        if inputs["norm"] == "L1":
            continue
        total = value.detach()
        layers = layers_of(inputs, k)
        limits, grads = inputs["eps_layers"][: len(layers)], batch.get("grad_full_activations", [])
        for (float_output, low_output), dual, eps_layer, grad in zip(layers, layer_duals, limits, grads, strict=True):
            term = dual * (published_distance(float_output, low_output) - eps_layer)
            term.backward()
            assert float_output.grad is not None
            torch.testing.assert_close(float_output.grad, torch.tensor(grad), rtol=1e-5, atol=1e-7)
            total = total + term.detach()
        assert float(total) == pytest.approx(batch["lagrangian"], rel=1e-5)


@sets
def test_the_multipliers(inputs: Any, outputs: Any) -> None:
    *layer_duals, output_dual = inputs["dual_start"]
    batches = range(len(inputs["batch_sizes"]))
    rate = inputs["dual_lr"]
    method = Pdq(constraint="cross_entropy", eps_output=inputs["eps_output"], dual_rate=rate, dual_cap=1e6)
    network = network_of(method, 3, output_dual)
    duals = [Dual() for _ in layer_duals]
    for dual, start in zip(duals, layer_duals, strict=True):
        dual.reset(start)
    for expected in outputs["dual_after_each_epoch"]:
        for k in batches:
            lagrangian(network, *of_batch(inputs, k))
            for dual, (full, low), eps in zip(duals, layers_of(inputs, k), inputs["eps_layers"][: len(duals)], strict=True):
                distance = (full - low).abs().mean() if inputs["norm"] == "L1" else published_distance(full, low)
                dual.observe(distance.detach() - eps, inputs["batch_sizes"][k])
        method.after_epoch(network, 1.0)
        for dual in duals:
            dual.ascend(rate, 1e6)
        found = [float(dual.value) for dual in (*duals, output_dual_of(network))]
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-7)
