"""Section 7 of the sheet, by number.

Not as it stands there: 7, since one BatchNorm serves both branches (instead: its running statistics are the quantized branch's); 12 for
the layers' constraints, which hold it nearly, their distance being relative to the batch's own power. 8 for layers: those at float have
no constraint, so no distance of 0 is ever formed. 10 for the levels of DoReFa: weights here have LSQ's, of one bit ± half a step.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.core.space import Space
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.methods.base import Batch, Method
from mpsearch.methods.lsq import Lsq
from mpsearch.methods.pdq import Dual, Pdq, cross_entropy, multipliers, proximities
from mpsearch.network.bypass import bypassed
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.quantizers import WeightQuantizer
from mpsearch.network.trace import trace
from mpsearch.tasks.task import Task
from mpsearch.training.loop import Hooks, train
from mpsearch.training.recipe import Recipe
from tests.networks import NETWORKS, trained_statistics

TASK = Task.classification()


class Small(nn.Module):
    """Two convolutions with norms and a linear layer, no dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0, self.bn0 = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4, momentum=1.0)
        self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4, momentum=1.0)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn0(self.conv0(x)))
        return self.head(torch.relu(self.bn1(self.conv1(x))).mean((2, 3)))


W2A4 = Choice(2, 4)


def attached(method: Method, choice: Choice = W2A4, model: nn.Module | None = None, x: Any = None) -> tuple[Network, Any, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(8, 1, 6, 6) if x is None else x
    if model is None:
        model = Small().train()
        model(x)  # statistics to calibrate on
    space = Space(name="t", weights=(1, 2, 3, 32), activations=(4, 32)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), method)
    network.begin(space.uniform(choice))
    network.model.train()
    with torch.no_grad():
        classes = call(model.eval(), x).shape[-1]
    return network, x, torch.arange(8) % classes


def batch_of(network: Network, x: Any, y: Tensor) -> Batch:
    outputs = call(network.model, x)
    loss = TASK.loss(outputs, y)
    return Batch(inputs=x, targets=y, outputs=outputs, loss=loss, task_loss=TASK.loss, divergence=TASK.divergence, progress=0.0)


def method_of(network: Network) -> Pdq:
    assert isinstance(network.method, Pdq)
    return network.method


def lagrangian(network: Network, x: Any, y: Tensor) -> Tensor:
    return method_of(network).objective(network, batch_of(network, x, y))


def gradients(network: Network, loss: Tensor) -> dict[str, Tensor]:
    network.model.zero_grad()
    loss.backward()
    return {name: parameter.grad for name, parameter in network.model.named_parameters() if parameter.grad is not None}


def weights_only(grads: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: grad for name, grad in grads.items() if name.endswith("original")}


def dual_of(quantizer: WeightQuantizer, name: str) -> Dual:
    dual = quantizer.get_submodule(name)
    assert isinstance(dual, Dual)
    return dual


def output_dual(network: Network) -> Dual:
    return dual_of(network.weight_quantizer(network.space.layers[0]), "output")


def set_duals(network: Network, output: float, layers: float) -> None:
    output_dual(network).reset(output)
    for layer in network.space.layers:
        dual_of(network.weight_quantizer(layer), "proximity").reset(layers)


def toy(a: float, eps: float, rate: float = 0.5, epochs: int = 300) -> tuple[float, float, float]:
    """`min ½(x − a)² s.t. ½x² ≤ eps` by dual ascent: (x, λ, optimal value)."""
    dual, x = Dual(), a
    for _ in range(epochs):
        x = a / (1 + float(dual.value))
        dual.observe(torch.tensor(0.5 * x * x - eps), 1)
        dual.ascend(rate, 100.0)
    return x, float(dual.value), 0.5 * (x - a) ** 2


def test_1_the_toy_problem_is_solved_and_its_multiplier_is_the_slope() -> None:
    a, eps = 2.0, 0.5
    x, multiplier, _ = toy(a, eps)
    assert multiplier == pytest.approx(a / (2 * eps) ** 0.5 - 1, rel=1e-4)
    assert x == pytest.approx(a / (1 + multiplier), rel=1e-4)
    slope = (toy(a, eps + 0.01)[2] - toy(a, eps - 0.01)[2]) / 0.02
    assert slope == pytest.approx(-multiplier, rel=1e-2)


def test_2_a_constraint_that_does_not_bind_has_no_multiplier() -> None:
    assert toy(1.0, 0.6)[1] == 0
    dual = Dual()
    dual.reset(1.0)
    for _ in range(30):
        dual.observe(torch.tensor(-0.1), 4)
        dual.ascend(0.5, 10.0)
    assert float(dual.value) == 0


@settings(deadline=None)
@given(st.floats(0, 5), st.floats(-2, 2), st.integers(1, 6), st.floats(0, 1))
def test_3_multipliers_integrate_the_excess_between_zero_and_the_cap(start: float, excess: float, epochs: int, rate: float) -> None:
    dual = Dual()
    dual.reset(start)
    for _ in range(epochs):
        dual.observe(torch.tensor(excess), 3)
        dual.observe(torch.tensor(excess), 5)
        dual.ascend(rate, 6.0)
        dual.ascend(rate, 6.0)  # nothing seen, nothing moved
    assert float(dual.value) == pytest.approx(min(max(start + epochs * rate * excess, 0.0), 6.0), abs=1e-4)


@pytest.mark.parametrize("ste", [True, False])
def test_4_loose_layer_constraints_change_nothing(ste: bool) -> None:
    both = []
    for method in (Pdq(ste=ste), Pdq(ste=ste, layerwise=True, eps_layer=1.0)):
        network, x, y = attached(method)
        for _ in range(2):
            found = gradients(network, lagrangian(network, x, y))
            method.after_epoch(network, 1.0)
        assert set(multipliers(network).values()) == {0.0}
        both.append(found)
    assert both[0].keys() == both[1].keys()
    assert all(torch.equal(both[0][name], both[1][name]) for name in both[0])


def test_5_weights_learn_from_the_float_branch_with_the_quantized_one_as_constants() -> None:
    network, x, y = attached(Pdq(ste=False, layerwise=True))
    set_duals(network, 0.7, 0.3)
    found = gradients(network, lagrangian(network, x, y))
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    for layer in network.space.layers:

        def keep(_: nn.Module, args: Any, output: Tensor, name: str = layer.name) -> None:
            inputs[name], outputs[name] = args[0].detach(), output.detach()

        network.model.get_submodule(layer.module).register_forward_hook(keep)
    constant = call(network.model, x).detach()
    plain = copy.deepcopy(network.architecture).train()
    weights = {f"{layer.module}.weight": network.latent_weight(layer) for layer in network.space.layers}
    floats = functional_call(plain, weights, x)
    loss = TASK.loss(floats, y) + 0.7 * TASK.divergence(floats, constant).mean()
    for layer in network.space.layers:
        z, w = inputs[layer.name], network.latent_weight(layer)
        bias = plain.head.bias.detach() if layer.name == "head" else None
        distance = F.linear(z, w, bias) if layer.name == "head" else F.conv2d(z, w, padding=1)
        loss = loss + 0.3 * (distance - outputs[layer.name]).square().sum() / outputs[layer.name].square().sum()
    network.model.zero_grad()
    loss.backward()
    for layer in network.space.layers:
        name = f"{layer.module}.parametrizations.weight.original"
        torch.testing.assert_close(found[name], network.latent_weight(layer).grad, rtol=1e-4, atol=1e-6)


def test_6_with_a_fixed_target_weights_learn_from_the_float_loss_alone() -> None:
    network, x, y = attached(Pdq(ste=False, layerwise=True))
    set_duals(network, 1.0, 0.0)
    batch = replace(batch_of(network, x, y), divergence=lambda reference, outputs: TASK.divergence(reference.detach(), outputs))
    found = gradients(network, method_of(network).objective(network, batch))
    with bypassed(network.model):
        alone = gradients(network, TASK.loss(call(network.model, x), y))
    assert weights_only(found).keys() == weights_only(alone).keys()
    assert all(torch.equal(grad, alone[name]) for name, grad in weights_only(found).items())
    straight, x, y = attached(Pdq(ste=True))
    batch = replace(batch_of(straight, x, y), divergence=batch.divergence)
    through = weights_only(gradients(straight, method_of(straight).objective(straight, batch)))
    assert all(not torch.equal(grad, through[name]) for name, grad in weights_only(found).items())


def test_7_running_statistics_are_those_of_the_quantized_branch() -> None:
    network, x, y = attached(Pdq(layerwise=True))
    batch = batch_of(network, x, y)
    before = {name: buffer.clone() for name, buffer in network.model.named_buffers() if ".bn" in f".{name}"}
    method_of(network).objective(network, batch)
    assert before
    assert all(torch.equal(dict(network.model.named_buffers())[name], buffer) for name, buffer in before.items())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_8_a_float_network_is_at_no_distance_from_itself(precision: str) -> None:
    network, x, y = attached(Pdq(layerwise=True), Choice(32))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        batch = batch_of(network, x, y)
    seen: list[Tensor] = []

    def divergence(reference: Tensor, outputs: Tensor) -> Tensor:
        seen.append(TASK.divergence(reference, outputs))
        return seen[-1]

    loss = method_of(network).objective(network, replace(batch, divergence=divergence))
    assert (seen[0] == 0).all()
    assert proximities(network, x) == {}
    assert float(loss.detach()) == pytest.approx(float(batch.loss.detach()) - 0.01, rel=1e-5)


def test_9_a_layers_distance_depends_on_the_rest_through_its_input_alone() -> None:
    network, x, _ = attached(
        Pdq(), model=nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)), x=torch.randn(8, 6)
    )
    first, middle, last = network.space.layers
    seen: list[Tensor] = []
    module: Any = network.model.get_submodule(middle.module)
    module.register_forward_hook(lambda _, args, output: seen.append(args[0].detach()))

    def by_hand() -> Tensor:
        quantized = F.linear(seen[-1], module.weight, module.bias)
        floats = F.linear(seen[-1], network.latent_weight(middle), module.bias)
        return (floats - quantized).square().sum() / quantized.square().sum()

    before = proximities(network, x)
    torch.testing.assert_close(before[middle.name], by_hand())
    with torch.no_grad():
        network.latent_weight(last).mul_(-3)
    assert torch.equal(proximities(network, x)[middle.name], before[middle.name])
    with torch.no_grad():
        network.latent_weight(first).add_(torch.randn_like(network.latent_weight(first)))
    corrupted = proximities(network, x)
    assert not torch.equal(corrupted[middle.name], before[middle.name])
    torch.testing.assert_close(corrupted[middle.name], by_hand())


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_10_the_quantizers_have_their_levels(bits: int) -> None:
    network, x, _ = attached(Pdq(), Choice(bits, 4))
    for layer in network.space.layers:
        quantizer, weight = network.weight_quantizer(layer), network.latent_weight(layer)
        rows, steps = quantizer.rows.split(weight), quantizer.steps(quantizer.rows.split(weight))
        levels = quantizer.quantize(rows) / steps.unsqueeze(1)
        assert len(levels.round(decimals=3).unique()) <= 2**bits
        if bits == 1:
            torch.testing.assert_close(levels.abs(), torch.full_like(levels, 0.5))
        inside = (rows / steps.unsqueeze(1) - quantizer.grid.offset - levels.new_tensor((quantizer.grid.lo + quantizer.grid.hi) / 2)).abs()
        inside = inside <= (quantizer.grid.hi - quantizer.grid.lo) / 2
        assert ((levels * steps.unsqueeze(1) - rows).abs() <= steps.unsqueeze(1) * 0.5001)[inside].all()
        act = network.act_quantizer(layer)
        assert act is not None
        once = act(x)
        assert torch.equal(act(once), once)


def test_11_a_copy_whose_weight_gradients_are_thrown_away_is_the_same() -> None:
    """The quantized branch on a deep copy with gradients straight through; those of its weights are dropped, the others carried over."""
    network, x, y = attached(Pdq(ste=False))
    set_duals(network, 0.7, 0.0)
    straight, _, _ = attached(Pdq(ste=True))
    straight.model.load_state_dict(network.model.state_dict())
    found = gradients(network, lagrangian(network, x, y))
    outputs = call(straight.model, x)
    with bypassed(network.model):
        floats = call(network.model, x)
    carried = gradients(straight, 0.7 * TASK.divergence(floats.detach(), outputs).mean())
    own = gradients(network, TASK.loss(floats, y) + 0.7 * TASK.divergence(floats, outputs.detach()).mean())
    for name, grad in found.items():
        expected = own.get(name, torch.zeros(()))
        if not name.endswith("original"):
            expected = expected + carried[name]
        torch.testing.assert_close(grad, expected, rtol=1e-4, atol=1e-6)


def test_the_published_constraint_is_the_divergence_and_the_entropy_of_the_float_predictions() -> None:
    """So it is the same for the quantized branch, and another for the float one."""
    torch.manual_seed(0)
    floats, outputs = torch.randn(8, 5, requires_grad=True), torch.randn(8, 5, requires_grad=True)
    targets = torch.arange(8) % 5
    loss = TASK.loss(outputs, targets)
    batch = Batch(inputs=None, targets=targets, outputs=outputs, loss=loss, task_loss=TASK.loss, divergence=TASK.divergence, progress=0.0)
    log_p = F.log_softmax(floats, -1)
    entropy = -(log_p.exp() * log_p).sum(-1).mean()
    divergence, published = TASK.divergence(floats, outputs).mean(), cross_entropy(batch, floats)
    torch.testing.assert_close(published, divergence + entropy)
    theirs = torch.autograd.grad(published, [floats, outputs], retain_graph=True)
    ours = torch.autograd.grad(divergence, [floats, outputs], retain_graph=True)
    torch.testing.assert_close(theirs[1], ours[1])
    torch.testing.assert_close(theirs[0], ours[0] + torch.autograd.grad(entropy, floats)[0])
    assert (theirs[0] - ours[0]).norm() > 0.3 * theirs[0].norm()


@pytest.mark.parametrize("constraint", ["divergence", "cross_entropy"])
def test_the_objective_and_its_multiplier_have_the_chosen_constraint(constraint: Any) -> None:
    network, x, y = attached(Pdq(constraint=constraint, eps_output=0.3))
    set_duals(network, 0.7, 0.0)
    batch = batch_of(network, x, y)
    with bypassed(network.model):
        floats = call(network.model, x)
    divergence = TASK.divergence(floats, batch.outputs).mean()
    entropy = cross_entropy(batch, floats) - divergence
    assert float(entropy.detach()) > 0.1
    excess = divergence - 0.3 + (entropy if constraint == "cross_entropy" else 0)
    torch.testing.assert_close(lagrangian(network, x, y), TASK.loss(floats, y) + 0.7 * excess)
    assert float(output_dual(network).excess) == pytest.approx(8 * float(excess.detach()), rel=1e-4)


def test_the_published_constraint_needs_classes() -> None:
    network, x, y = attached(Pdq(constraint="cross_entropy"))
    batch = replace(batch_of(network, x, y), targets=torch.zeros(8, 3))
    with pytest.raises(ConfigError, match=r"needs logits.*take 'divergence'"):
        method_of(network).objective(network, batch)


def test_12_the_mean_excess_does_not_depend_on_the_batches() -> None:
    network, x, y = attached(Pdq(layerwise=True), model=nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), x=torch.randn(8, 6))
    means = []
    for cuts in ([8], [5, 3]):
        set_duals(network, 1.0, 0.0)
        for part, labels in zip(x.split(cuts), y.split(cuts), strict=True):
            lagrangian(network, part, labels)
        duals = [output_dual(network), *(dual_of(network.weight_quantizer(layer), "proximity") for layer in network.space.layers)]
        assert all(float(dual.samples) == 8 for dual in duals)
        means.append([float(dual.excess / dual.samples) for dual in duals])
    assert means[0][0] == pytest.approx(means[1][0], rel=1e-5)
    assert means[0][1:] == pytest.approx(means[1][1:], rel=0.1)


def test_13_the_layer_that_is_hard_to_quantize_gets_the_largest_multiplier() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 3))
    with torch.no_grad():
        for index in (0, 2, 4):
            weight = model.get_parameter(f"{index}.weight")
            weight.normal_()
            if index == 2:
                weight.pow_(3)
            weight.mul_(0.2 / weight.std())
    network, x, _ = attached(Pdq(layerwise=True), Choice(3), model, torch.randn(48, 16))
    split = TensorSplit(x, torch.arange(48) % 3)
    recipe = Recipe(epochs=4, batch_size=16, lr=1e-3, precision="float32", reestimate=0)
    quantizers = network.quantizer_parameters()
    train(network.model, quantizers, split, TASK, recipe, device=torch.device("cpu"), seed=0, hooks=Hooks.of(method_of(network), network))
    found = multipliers(network)
    assert max(found, key=found.__getitem__) == "2"
    assert all(value > 0 for value in found.values())


def test_multipliers_travel_with_the_checkpoint_and_begin_forgets_them() -> None:
    network, x, y = attached(Pdq(layerwise=True))
    lagrangian(network, x, y)
    method_of(network).after_epoch(network, 0.5)
    lagrangian(network, x, y)
    other, _, _ = attached(Pdq(layerwise=True), Choice(1))
    other.model.load_state_dict(copy.deepcopy(network.model.state_dict()))
    assert multipliers(other) == multipliers(network)
    assert min(multipliers(other).values()) > 0
    for one in (network, other):
        method_of(one).after_epoch(one, 1.0)
    assert multipliers(other) == multipliers(network)
    assert float(output_dual(other).value) == float(output_dual(network).value) != 1.0
    network.begin(network.space.uniform(Choice(2, 4)))
    assert set(multipliers(network).values()) == {0.0}
    assert float(output_dual(network).value) == 1.0
    assert float(output_dual(network).samples) == 0


def test_multipliers_are_capped() -> None:
    network, x, y = attached(Pdq(layerwise=True, eps_layer=0.0, eps_output=0.0, dual_rate=1e6, dual_cap=2.5))
    lagrangian(network, x, y)
    method_of(network).after_epoch(network, 1.0)
    assert set(multipliers(network).values()) == {2.5}
    assert float(output_dual(network).value) == 2.5


def test_multipliers_are_asked_of_pdq_alone() -> None:
    with pytest.raises(ValueError, match="kept by the method pdq, not by Lsq"):
        multipliers(attached(Lsq())[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_any_network_learns_layer_by_layer(name: str) -> None:
    """Attention, tied and shared weights, and plain `nn.Sequential`, which would call whatever a method hung into it."""
    torch.manual_seed(0)
    network, x, y = attached(Pdq(layerwise=True), W2A4, trained_statistics(NETWORKS[name][0]()), NETWORKS[name][1]())
    set_duals(network, 1.0, 1.0)
    found = gradients(network, lagrangian(network, x, y))
    assert all(bool(torch.isfinite(grad).all()) for grad in found.values())
    method_of(network).after_epoch(network, 1.0)
    assert all(value != 1.0 for value in multipliers(network).values())


def test_one_compiled_graph_serves_all_steps_and_allocations() -> None:
    """What the objective does beside the compiled forward must not invalidate it."""
    network, x, y = attached(Pdq(layerwise=True))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled: Any = torch.compile(network.model, backend="eager")
    for bits in (2, 2, 1):
        network.begin(network.space.uniform(Choice(bits, 4)))
        network.model.train()
        batch = replace(batch_of(network, x, y), outputs=compiled(x))
        torch.testing.assert_close(method_of(network).objective(network, batch), lagrangian(network, x, y))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("field", ["eps_output", "eps_layer", "dual_rate", "dual_cap"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_settings_are_checked(field: str, value: float) -> None:
    wrong: dict[str, Any] = {field: value}
    with pytest.raises(ConfigError, match=f"pdq.{field} must be a number from 0 up, not"):
        Pdq(**wrong)
