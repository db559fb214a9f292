"""`bsq` against the authors' layers and strip routine.

Planes are reversed: theirs begin with the highest bit, ours with the lowest and always are seven, of which `places` says which are in use.
`step = scale / (2^N − 1)`. The layer is one row here, since theirs has one scale; in [rows, columns] it makes no difference.
Where we deviate, and what is checked instead:

- Gradients of planes are theirs times `1/(2 step² Σ 4^j)`, that of the scale theirs divided by √n.
- The lasso of a layer is `lasso / Σ #W` as in their formula; their script adds every layer twice, so their decay a is our alpha 2a.
- Initial planes: the remainder of rounding is in the lowest plane, so the weight is the same and the planes are once they are re-quantized.
  Our initial scale has the least squared error; here it is max|w|, theirs.
- A plane is added only below the allocation's highest place, their `maxbit`. A code beyond the added plane saturates, where their top plane
  becomes 2; no case of the file has one, and clipping to [0, 2] does not let one arise.
- Scales are kept for the allocation's planes, so their new scale is compared as a step: `scale_stripped / (2^N − 1)` is the lowest place
  in use.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.choice import Choice
from mpsearch.core.space import Space
from mpsearch.methods.base import Batch
from mpsearch.methods.bsq import Bsq
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.numbers.gradients.bit_planes import PLANES, active_places, from_planes
from mpsearch.tasks.task import Task
from tests.gold import gold

CASES: list[Any] = gold("bsq")["cases"]
TASK = Task.classification()


def cases(part: str) -> list[Any]:
    return [pytest.param(c["inputs"], c["outputs"], id=f"{k}-{c['case']}") for k, c in enumerate(CASES) if c["part"] == part]


def row(values: Any) -> Tensor:
    """`[rows, columns]` → `[1, n]`."""
    return torch.tensor(values, dtype=torch.float32).reshape(1, -1)


def planes_of(theirs: Any, lowest: int = 0) -> Tensor:
    """`[N, rows, columns]`, highest first → `[PLANES, 1, n]`, lowest first, from place `lowest` on."""
    found = torch.tensor(theirs, dtype=torch.float32).flatten(1).flip(0).unsqueeze(1)
    ours = torch.zeros(PLANES, 1, found.shape[2])
    ours[lowest : lowest + len(found)] = found
    return ours


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours.detach(), theirs, rtol=1e-5, atol=1e-6)


def layer_of(weights: int, bits: int, alpha: float = 1.0) -> tuple[Network, Any]:
    """A linear layer with one output, and its quantizer."""
    model = nn.Sequential(nn.Linear(weights, 1, bias=False))
    x = torch.randn(4, weights, generator=torch.Generator().manual_seed(0))
    space = Space(name="one", weights=(bits,), activations=(32,)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), Bsq(alpha=alpha))
    network.begin(space.uniform(Choice(bits)))
    network.model.train()
    return network, network.weight_quantizer(space.layers[0])


def fill(quantizer: Any, inputs: Any, room: int = 0) -> None:
    """The planes and the scale of a case, of an allocation with `room` more planes than are in use."""
    planes = inputs["planes"]
    quantizer.places.copy_(active_places(0, planes))
    quantizer.top.fill_(2 ** (planes + room) - 1)
    quantizer.scale.data.fill_(inputs["scale"] / (2**planes - 1) * float(quantizer.top))
    quantizer.p.data.copy_(planes_of(inputs["p"]))
    quantizer.n.data.copy_(planes_of(inputs["n"]))


def value(quantizer: Any) -> Tensor:
    found: Tensor = quantizer.quantize(quantizer.p[0])
    return found


def test_every_part_is_compared() -> None:
    assert {case["part"] for case in CASES} == {"forward", "begin", "requantise"}


@pytest.mark.parametrize(("inputs", "outputs"), cases("forward"))
def test_planes_to_weights_and_back(inputs: Any, outputs: Any) -> None:
    planes, top = inputs["planes"], 2 ** inputs["planes"] - 1
    p, n = planes_of(inputs["p"]).requires_grad_(), planes_of(inputs["n"]).requires_grad_()
    step = torch.tensor([inputs["scale"] / top], requires_grad=True)
    w = from_planes(p, n, step, active_places(0, planes), torch.zeros(()))
    close(w, row(outputs["w"]))
    close((w / step).round(), row(outputs["code"]))
    (w * row(inputs["upstream"])).sum().backward()
    assert p.grad is not None
    assert n.grad is not None
    assert step.grad is not None
    close(p.grad, planes_of(outputs["dp"]))
    close(n.grad, planes_of(outputs["dn"]))
    assert float(step.grad) / top == pytest.approx(outputs["dscale"], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("inputs", "outputs"), cases("forward"))
def test_gradients_of_the_layer(inputs: Any, outputs: Any) -> None:
    planes, upstream = inputs["planes"], row(inputs["upstream"])
    _, quantizer = layer_of(upstream.numel(), planes + 1)
    fill(quantizer, inputs)
    w = value(quantizer)
    close(w, row(outputs["w"]))
    (w * upstream).sum().backward()
    step = inputs["scale"] / (2**planes - 1)
    rate = 1 / (2 * step**2 * sum(4**j for j in range(planes)))
    close(quantizer.p.grad / rate, planes_of(outputs["dp"]))
    close(quantizer.n.grad / rate, planes_of(outputs["dn"]))
    assert float(quantizer.scale.grad) * upstream.numel() ** 0.5 == pytest.approx(outputs["dscale"], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(("inputs", "outputs"), cases("forward"))
def test_the_lasso(inputs: Any, outputs: Any) -> None:
    planes, weights = inputs["planes"], row(inputs["upstream"]).numel()
    network, quantizer = layer_of(weights, planes + 1)
    fill(quantizer, inputs)
    nothing = torch.zeros(())
    batch = Batch(
        inputs=None, targets=nothing, outputs=nothing, loss=nothing, task_loss=TASK.loss, divergence=TASK.divergence, progress=0.0
    )
    method: Any = network.method
    penalty = method.objective(network, batch)
    assert float(penalty.detach()) == pytest.approx(outputs["lasso"] / weights, rel=1e-5)
    penalty.backward()
    step = inputs["scale"] / (2**planes - 1)
    rate = 1 / (2 * step**2 * sum(4**j for j in range(planes)))
    close(quantizer.p.grad / rate * weights, planes_of(outputs["lasso_dp"]))
    close(quantizer.n.grad / rate * weights, planes_of(outputs["lasso_dn"]))


@pytest.mark.parametrize(("inputs", "outputs"), cases("begin"))
def test_initial_planes(inputs: Any, outputs: Any) -> None:
    planes, weight = inputs["planes"], row(inputs["w_float"])
    assert outputs["scale"] == pytest.approx(float(weight.abs().max()))
    step = outputs["scale"] / (2**planes - 1)
    _, quantizer = layer_of(weight.numel(), planes + 1)
    quantizer.begin(weight, torch.tensor([step]))
    close(value(quantizer), row(outputs["w"]))
    close(quantizer.p[1:], planes_of(outputs["p"])[1:])
    close(quantizer.n[1:], planes_of(outputs["n"])[1:])
    remainder = weight / step - row(outputs["w"]) / step
    close((quantizer.p - quantizer.n)[0] - remainder, (planes_of(outputs["p"]) - planes_of(outputs["n"]))[0])
    with torch.no_grad():
        quantizer.requantize(adjust=False)
    assert torch.equal(quantizer.p, planes_of(outputs["p"]))
    assert torch.equal(quantizer.n, planes_of(outputs["n"]))


@pytest.mark.parametrize(("inputs", "outputs"), cases("requantise"))
def test_requantizing_and_stripping(inputs: Any, outputs: Any) -> None:
    """Theirs in two stages; ours does both in one, so what is between them is compared through digits and value."""
    planes, step = inputs["planes"], inputs["scale"] / (2 ** inputs["planes"] - 1)
    room = min(inputs["maxbit"] - planes, PLANES - planes)
    _, quantizer = layer_of(row(inputs["p"][0]).numel(), planes + room + 1)
    fill(quantizer, inputs, room)
    close(value(quantizer), row(outputs["w_before"]))
    digits = planes_of(outputs["p_requantised"]), planes_of(outputs["n_requantised"])
    assert outputs["scale_requantised"] / (2 ** outputs["planes_requantised"] - 1) == pytest.approx(step, rel=1e-5)
    if outputs["planes_requantised"] == planes and room == 0:
        with torch.no_grad():
            quantizer.requantize(adjust=False)
        assert torch.equal(quantizer.p, digits[0])
        assert torch.equal(quantizer.n, digits[1])
    with torch.no_grad():
        quantizer.requantize(adjust=True)
    assert torch.equal(quantizer.p, digits[0])
    assert torch.equal(quantizer.n, digits[1])
    close(value(quantizer), row(outputs["w_requantised"]))
    close(value(quantizer), row(outputs["w_stripped"]))
    assert quantizer.planes_in_use() == outputs["planes_stripped"]
    lowest = int(quantizer.places.nonzero()[0])
    assert outputs["scale_stripped"] / (2 ** outputs["planes_stripped"] - 1) == pytest.approx(step * 2**lowest, rel=1e-5)
    used = slice(lowest, lowest + outputs["planes_stripped"])
    assert torch.equal(quantizer.p[used], planes_of(outputs["p_stripped"], lowest)[used])
    assert torch.equal(quantizer.n[used], planes_of(outputs["n_stripped"], lowest)[used])
