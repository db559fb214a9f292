"""`learned_range`, property by property of its paper.

The quantizer itself, its gradients (properties 1, 2, 3), snapping (5) and the implied bits (6) are tested in
`tests/quant/test_learned_range.py`, powers of two as levels in `tests/quant/test_power_of_two_levels.py`. Not tested: that d gets no
gradient beyond its bounds (5), since bounds are projections after the step here; sizes in kB of the paper's ResNet-20 (8), since budgets
are mean bits here and bytes are the `size` cost's; that the toy run of (10) does not oscillate: with bits free d shrinks until it does,
what is tested is that it ends lowest.
"""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.methods.base import Batch
from mpsearch.methods.learned_range import LearnedRange
from mpsearch.methods.uniform_range import Parametrization
from mpsearch.network.baked import bake, install
from mpsearch.network.inputs import call
from mpsearch.network.quantizers import ActQuantizer, WeightQuantizer
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.grid import GRID_STYLES, GridStyle, act_grid, weight_grid
from tests.methods.learned_ranges import TASK, attached, data, mean_bits, trained, weight_quantizer

KINDS: tuple[Parametrization, ...] = ("u3", "u2", "u1")


def batch_of(loss: Tensor) -> Batch:
    nothing = torch.zeros(())
    return Batch(inputs=None, targets=nothing, outputs=nothing, loss=loss, task_loss=TASK.loss, divergence=TASK.divergence, progress=0.0)


# 4: one quantizer in three parametrizations


@pytest.mark.parametrize("style", GRID_STYLES)
@pytest.mark.parametrize("bits", [2, 3, 8])
def test_the_three_agree_where_they_start(style: GridStyle, bits: int) -> None:
    weight = torch.randn(4, 60, generator=torch.Generator().manual_seed(bits))
    steps = torch.tensor([0.1, 0.2, 0.15, 0.4])
    grid = weight_grid(bits, style)
    plain = LearnedRange(grid=style)
    expected = weight_quantizer(plain, steps, bits, weight)(weight)
    codes = (weight / steps[:, None] - grid.offset).round().clamp(grid.lo, grid.hi)
    torch.testing.assert_close(expected, (codes + grid.offset) * steps[:, None])
    for kind in KINDS:
        learning = weight_quantizer(LearnedRange(grid=style, parametrization=kind, weight_budget=4), steps, bits, weight)
        torch.testing.assert_close(learning(weight), expected)


def test_far_out_the_gradient_of_u1_grows_with_the_levels_and_that_of_u3_does_not() -> None:
    weight = torch.full((1, 1), 100.0)
    gradients = {}
    for kind in ("u1", "u3"):
        method = LearnedRange(grid="narrow", parametrization=kind, weight_budget=4)
        quantizer = weight_quantizer(method, torch.tensor([0.1]), 8, weight)
        quantizer(weight).sum().backward()
        gradients[kind] = {name: float(parameter.grad) for name, parameter in quantizer.named_parameters()}
    assert gradients["u1"]["step"] == pytest.approx(127)
    assert gradients["u1"]["width"] == pytest.approx(128 * 0.6931 * 0.1, rel=1e-3)
    assert gradients["u3"]["top"] == pytest.approx(1)
    assert abs(gradients["u3"]["step"]) <= 1


def test_gradients_of_u2_are_the_table() -> None:
    weight = torch.tensor([[0.23, -0.11, 5.0]])
    method = LearnedRange(grid="narrow", parametrization="u2", weight_budget=4)
    quantizer = weight_quantizer(method, torch.tensor([0.1]), 3, weight)
    values = quantizer(weight)
    error = (values - weight)[:, :2].detach()
    dtop, dwidth = torch.autograd.grad(values[:, :2].sum(), (quantizer.top, quantizer.width), retain_graph=True)
    assert float(dtop) == pytest.approx(float((error / 0.3).sum()), rel=1e-4)
    assert float(dwidth) == pytest.approx(float((-4 * 0.6931 / 3 * error).sum()), rel=1e-3)
    dtop, dwidth = torch.autograd.grad(values[:, 2].sum(), (quantizer.top, quantizer.width))
    assert float(dtop) == pytest.approx(1)
    assert float(dwidth) == pytest.approx(0, abs=1e-5)


def test_at_fixed_bits_the_range_is_learned_and_the_step_tied() -> None:
    weight = torch.tensor([[0.23, -0.11, 5.0]])
    quantizer = weight_quantizer(LearnedRange(grid="narrow"), torch.tensor([0.1]), 3, weight)
    assert [name for name, _ in quantizer.named_parameters()] == ["top"]
    quantizer(weight).sum().backward()
    inside = (torch.tensor([0.2, -0.1]) - torch.tensor([0.23, -0.11])).sum() / 0.3
    assert float(quantizer.top.grad) == pytest.approx(float(inside) + 1, rel=1e-4)


@pytest.mark.parametrize("side", ["weight", "act"])
def test_the_range_of_u1_is_that_of_the_snapped_step(side: str) -> None:
    """0.09 is snapped to 0.125: at three bits a weight reaches 0.375, not 0.27, and an activation 0.875."""
    x = torch.tensor([[0.3, 9.0]], requires_grad=True)
    method = LearnedRange(grid="narrow", parametrization="u1", weight_budget=4, act_budget=4, snap=True)
    if side == "weight":
        quantizer = weight_quantizer(method, torch.tensor([0.125]), 8, x.detach())
    else:
        quantizer = cast(Any, method.act_quantizer())
        quantizer.set_grid(8, act_grid(8, False))
        quantizer.begin(torch.tensor(0.125))
    with torch.no_grad():
        quantizer.step.fill_(0.09)
        quantizer.width.fill_(3.0)
    levels = 3 if side == "weight" else 7
    values = quantizer.train()(x)
    assert values.tolist() == [[0.25, 0.125 * levels]]
    dx, dstep = torch.autograd.grad(values.sum(), (x, quantizer.step))
    assert dx.tolist() == [[1.0, 0.0]]
    assert float(dstep) == pytest.approx((2 - 0.3 / 0.125 + levels) * 0.125 / 0.09)


@pytest.mark.parametrize("kind", ["u1", "u2"])
@pytest.mark.parametrize("width", [2.0, 2.3, 4.0])
def test_learned_bits_have_the_whole_gradient_at_their_limits_too(kind: Parametrization, width: float) -> None:
    quantizer = weight_quantizer(LearnedRange(parametrization=kind, weight_budget=2), torch.tensor([0.1]), 4, torch.randn(1, 9))
    with torch.no_grad():
        quantizer.width.fill_(width)
        quantizer.project()
    bits = quantizer.bits_now()
    assert float(bits.detach()) == round(width)
    assert torch.autograd.grad(bits, quantizer.width)[0].item() == 1.0


# 7: where it starts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("style", GRID_STYLES)
@pytest.mark.parametrize("snap", [False, True])
def test_starts_at_the_bits_of_the_allocation(kind: Parametrization, style: GridStyle, snap: bool) -> None:
    method = LearnedRange(parametrization=kind, grid=style, weight_budget=4, act_budget=4, snap=snap)
    network = attached(method)
    for choice in (Choice(1, 2), Choice(2, 4), Choice(3, 8), Choice(4, 4), Choice(6, 4), Choice(8, 2), Choice(FLOAT_BITS)):
        network.begin(network.space.uniform(choice))
        assert set(cast(Any, method.learned_bits(network)).values()) == {choice.weight.bits}
        assert set(cast(Any, method.learned_act_bits(network)).values()) == {choice.activation.bits}


def test_without_a_budget_bits_are_as_given() -> None:
    network = attached(LearnedRange())
    network.begin(network.space.uniform(Choice(4, 4)))
    assert LearnedRange().learned_bits(network) is None
    assert LearnedRange().learned_act_bits(network) is None
    loss = torch.tensor(1.5)
    assert LearnedRange().objective(network, batch_of(loss)) is loss


def test_a_dead_channel_does_not_set_the_scale() -> None:
    weight = torch.randn(5, 8) * 0.01
    quantizer = weight_quantizer(LearnedRange(), torch.tensor([0.01, 0.01, 0.02, 1.0, 0.01]), 4, weight)
    assert float(quantizer.raw_step().detach()) == pytest.approx(0.01)


# 9: the penalty


@pytest.mark.parametrize("side", ["weight", "act"])
@pytest.mark.parametrize("kind", ["sum", "max"])
def test_the_penalty_shrinks_ranges_and_grows_steps_above_the_budget_only(side: str, kind: Any) -> None:
    for budget, above in ((3.0, True), (8.0, False)):
        targets = {f"{side}_budget": budget}
        method = LearnedRange(act_budget_kind=kind, **targets)  # type: ignore[arg-type]
        network = attached(method)
        network.begin(network.space.uniform(Choice(4, 4)))
        method.objective(network, batch_of(torch.zeros(()))).backward()
        layers = network.space.layers
        quantizers = cast(Any, [network.weight_quantizer(x) if side == "weight" else network.act_quantizer(x) for x in layers])
        gradients = [(float(q.top.grad), float(q.step.grad)) for q in quantizers if above or q.top.grad is not None]
        moved = [pair for pair in gradients if pair != (0.0, 0.0)]
        assert all(top > 0 and step < 0 for top, step in moved)
        if not above:
            assert not moved
        elif side == "act" and kind == "max":
            largest = max(layer.input_elements for layer in layers)
            assert [pair != (0.0, 0.0) for pair in gradients].index(True) == [layer.input_elements for layer in layers].index(largest)
            assert len(moved) == 1
        else:
            assert len(moved) == len(layers)


def test_the_penalty_is_the_squared_excess_in_mean_bits() -> None:
    method = LearnedRange(weight_budget=3, act_budget=2.5, penalty=2.0)
    network = attached(method)
    network.begin(network.space.uniform(Choice(4, 4)))
    assert float(method.objective(network, batch_of(torch.tensor(0.25))).detach()) == pytest.approx(0.25 + 2 * 1 + 2 * 1.5**2)


def test_float_layers_do_not_count() -> None:
    method = LearnedRange(weight_budget=2)
    network = attached(method)
    names = network.space.names
    allocation = network.space.uniform(Choice(2))
    network.begin(type(allocation)({**allocation, names[0]: Choice(FLOAT_BITS)}))
    assert float(method.objective(network, batch_of(torch.tensor(0.0))).detach()) == 0.0
    network.begin(network.space.uniform(Choice(FLOAT_BITS)))
    assert float(method.objective(network, batch_of(torch.tensor(0.0))).detach()) == 0.0


# 10: the toy problem of section 2.3


def toy(kind: Parametrization, lr: float) -> float:
    """Squared error of a Gaussian after plain gradient descent from 3 bits."""
    x = torch.randn(1, 10_000, generator=torch.Generator().manual_seed(0))
    quantizer = weight_quantizer(LearnedRange(parametrization=kind, weight_budget=4, grid="narrow"), torch.tensor([0.25]), 8, x)
    for name, start in (("step", 0.25), ("top", 0.75), ("width", 3.0)):
        if name in dict(quantizer.named_parameters()):
            getattr(quantizer, name).data.fill_(start)
    for _ in range(300):
        quantizer.zero_grad()
        ((quantizer(x) - x).square().mean() / 2).backward()
        with torch.no_grad():
            for parameter in quantizer.parameters():
                parameter.sub_(lr * parameter.grad)
            quantizer.project()
    return float((quantizer(x) - x).square().mean().detach() / 2)


@pytest.mark.parametrize("lr", [0.1, 0.3])
def test_u3_fits_a_gaussian_best(lr: float) -> None:
    errors = {kind: toy(kind, lr) for kind in KINDS}
    assert errors["u3"] == min(errors.values())
    assert errors["u3"] < 0.01


# 11: stabilisers


@settings(deadline=None, max_examples=40)
@given(
    bits=st.integers(1, 8),
    kind=st.sampled_from(KINDS),
    style=st.sampled_from(GRID_STYLES),
    moves=st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3),
)
def test_after_any_update_step_and_range_are_in_order(bits: int, kind: Parametrization, style: GridStyle, moves: list[float]) -> None:
    weight = torch.randn(2, 9)
    quantizer = weight_quantizer(LearnedRange(parametrization=kind, grid=style, weight_budget=4), torch.tensor([0.1, 0.1]), bits, weight)
    highest = float(quantizer.highest())
    with torch.no_grad():
        for parameter, move in zip(quantizer.parameters(), moves, strict=False):
            parameter.add_(move)
        quantizer.project()
    step, top = (float(value.detach()) for value in quantizer.pair())
    assert step > 0.1 / 33
    assert 0.1 / 33 * (0.5 if kind == "u1" else highest) < top < 33 * 0.1 * highest * (highest if kind == "u1" else 1)
    assert min(1 + quantizer.grid.offset, highest) * 0.999 <= top / step <= highest * 1.001
    assert min(bits, 2) <= quantizer.whole_bits() <= bits
    codes, _ = quantizer.export(weight)
    assert quantizer.grid.lo <= int(codes.min()) <= int(codes.max()) <= quantizer.grid.hi


@pytest.mark.parametrize("kind", KINDS)
def test_no_gradient_is_larger_than_a_step(kind: Parametrization) -> None:
    method = LearnedRange(parametrization=kind, weight_budget=2, act_budget=2)
    network = attached(method)
    network.begin(network.space.uniform(Choice(8, 8)))
    for parameter in network.quantizer_parameters():
        parameter.grad = torch.full_like(parameter, -1e6)
    with torch.no_grad():
        method.before_step(network, 0.0)
    for layer in network.space.layers:
        for quantizer in cast(Any, (network.weight_quantizer(layer), network.act_quantizer(layer))):
            expected = {"step": quantizer.raw_step(), "top": quantizer.raw_step(), "width": torch.ones(())}
            for name, parameter in quantizer.named_parameters():
                torch.testing.assert_close(parameter.grad, -expected[name].detach())


# Learning bits


@pytest.mark.parametrize("kind", KINDS)
def test_training_finds_bits_near_the_budget_inside_the_grid(kind: Parametrization) -> None:
    method = LearnedRange(parametrization=kind, weight_budget=3.0, act_budget=4.0)
    network = trained(method, Choice(8, 8), lr=0.05)
    learned, acts = cast(Any, method.learned_bits(network)), cast(Any, method.learned_act_bits(network))
    assert set(learned) == set(acts) == set(network.space.names)
    assert mean_bits(network, learned) <= 3.6
    assert all(2 <= bits < 8 and bits == int(bits) for bits in learned.values())
    assert all(2 <= bits <= 8 for bits in acts.values())
    for layer in network.space.layers:
        codes, _ = network.weight_quantizer(layer).export(network.latent_weight(layer))
        bound = 2 ** (int(learned[layer.name]) - 1)
        assert -bound <= int(codes.min()) <= int(codes.max()) <= bound - 1
    fewer = {name: Choice(min(b for b in (2, 3, 4, 8) if b >= bits), 4) for name, bits in learned.items()}
    allocation = type(network.space.uniform(Choice(2)))(fewer)
    network.begin(allocation)
    assert method.learned_bits(network) == {name: choice.weight.bits for name, choice in fewer.items()}


def test_different_layers_get_different_bits() -> None:
    method = LearnedRange(weight_budget=3.5)
    learned = cast(Any, method.learned_bits(trained(method, Choice(8), lr=0.1)))
    assert len(set(learned.values())) > 1


@pytest.mark.parametrize("snap", [False, True])
@pytest.mark.parametrize("style", GRID_STYLES)
@pytest.mark.parametrize("budgets", [(0.0, 0.0), (3.0, 0.0), (3.0, 4.0)])
def test_what_is_trained_is_what_is_baked(snap: bool, style: GridStyle, budgets: tuple[float, float]) -> None:
    method = LearnedRange(snap=snap, grid=style, weight_budget=budgets[0], act_budget=budgets[1])
    network = trained(method, Choice(4, 4), epochs=2)
    baked = bake(network)
    network.model.eval()
    with torch.no_grad():
        for layer in network.space.layers:
            quantizer = network.weight_quantizer(layer)
            codes, steps = quantizer.export(network.latent_weight(layer))
            values = quantizer.rows.join((codes.float() + quantizer.grid.offset) * steps[:, None])
            assert torch.equal(values, quantizer(network.latent_weight(layer)))
            baked_input = baked.layers[layer.name].input
            assert baked_input is not None
            if snap:
                assert torch.equal(steps.log2(), steps.log2().round())
                assert torch.equal(baked_input.step.log2(), baked_input.step.log2().round())
        plain = call(install(network.architecture, network.space.layers, baked), data().x)
    assert bool(torch.isfinite(plain).all())


def test_while_bits_are_learned_an_activation_trains_coarser_than_it_is_scored() -> None:
    method = LearnedRange(act_budget=4.0)
    quantizer = cast(Any, method.act_quantizer())
    quantizer.set_grid(8, act_grid(8, False))
    quantizer.begin(torch.tensor(0.01))
    quantizer.step.data.fill_(0.85)
    x = torch.tensor([-9.0, 0.3, 0.9, 9.0])
    assert quantizer.train()(x).tolist() == pytest.approx([0.0, 0.0, 0.85, 2.55])
    assert quantizer.eval()(x).tolist() == pytest.approx([0.0, 0.3, 0.9, 2.55])
    assert quantizer.whole_bits() == 2
    quantizer.set_grid(8, act_grid(8, True))
    quantizer.begin(torch.tensor(0.01))
    quantizer.step.data.fill_(0.4)
    assert quantizer.train()(x).tolist() == pytest.approx([-1.6, 0.4, 0.8, 1.2])


@pytest.mark.parametrize("budget", [0.0, 4.0])
def test_one_bit_keeps_its_weights_moving(budget: float) -> None:
    """Beyond the single magnitude gradients must pass, to twice that magnitude, or every large weight would be frozen."""
    weight = torch.tensor([[0.9, -0.9, 2.1, 0.2]], requires_grad=True)
    quantizer = weight_quantizer(LearnedRange(weight_budget=budget), torch.tensor([1.0]), 1, weight)
    values = quantizer(weight)
    assert values.tolist() == [[0.5, -0.5, 0.5, 0.5]]
    values.sum().backward()
    assert cast(Tensor, weight.grad).tolist() == [[1.0, 1.0, 0.0, 1.0]]


@pytest.mark.parametrize("levels", ["uniform", "power_of_two"])
@pytest.mark.parametrize("budgets", [(0.0, 0.0), (3.0, 4.0)])
def test_one_compilation_serves_every_allocation(budgets: tuple[float, float], levels: Any) -> None:
    torch.compiler.reset()
    graphs = 0

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        nonlocal graphs
        graphs += 1
        return graph.forward

    method = LearnedRange(weight_budget=budgets[0], act_budget=budgets[1], levels=levels, act_levels=levels)

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight: WeightQuantizer = method.weight_quantizer(Rows("first", (4, 6)))
            self.act: ActQuantizer = method.act_quantizer()

        def forward(self, w: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.weight(w), self.act(x)

    layer, generator = Layer(), torch.Generator().manual_seed(0)
    w, x = torch.randn(4, 6, generator=generator, requires_grad=True), torch.randn(5, generator=generator, requires_grad=True)
    compiled = torch.compile(layer, backend=backend, fullgraph=True)
    for bits in (8, 2, 1, 4, FLOAT_BITS):
        act_bits = max(bits, 2)
        layer.weight.set_grid(bits, None if bits == FLOAT_BITS else weight_grid(bits))
        layer.act.set_grid(act_bits, None if bits == FLOAT_BITS else act_grid(act_bits, bits != 4))
        if bits != FLOAT_BITS:
            with torch.no_grad():
                layer.weight.begin(w, torch.rand(4, generator=generator) + 0.1)
                layer.act.begin(torch.tensor(0.3))
        layer.zero_grad()
        outputs = compiled(w, x)
        for found, expected in zip(outputs, layer(w, x), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)
        sum(output.sum() for output in outputs).backward()
        assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in layer.parameters())
    assert graphs == 1


def test_adam_does_not_leave_the_order() -> None:
    method = LearnedRange(weight_budget=3.0)
    network = trained(method, Choice(8), epochs=3, optimizer="adamw")
    assert all(bool(torch.isfinite(p).all()) and bool((p > 0).all()) for p in network.quantizer_parameters())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("parametrization", "u4"),
        ("weight_budget", 1.0),
        ("weight_budget", 9.0),
        ("act_budget", -1.0),
        ("act_budget_kind", "mean"),
        ("penalty", 0.0),
        ("penalty", -1.0),
    ],
)
def test_wrong_settings(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"learned_range\.{field} must be") as caught:
        LearnedRange(**{field: value})
    assert caught.value.path == f"learned_range.{field}"
