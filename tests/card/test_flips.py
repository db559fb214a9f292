"""Flips change one factor: each against arithmetic, or against a network in which the answer is known."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from torch import nn

from mpsearch.card.arithmetic import mean_bits
from mpsearch.card.flips import confounder_flips, end_layers, ends_at, rounded_to_kernels
from mpsearch.card.inputs import CardInputs
from mpsearch.card.variants import OUT_OF_TIME
from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import BudgetError
from mpsearch.network.trace import trace
from mpsearch.training.evaluate import evaluate
from tests.card.runs import CALIBRATED, by_toggle, pictures, prepared, uniform
from tests.networks import Depthwise, Transformer, trained_statistics


def perceptron() -> nn.Sequential:
    """No BatchNorm, so that what is quantized without error scores exactly like the float network."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def test_t1_changes_nothing_where_all_channels_have_the_same_range() -> None:
    model = perceptron()
    with torch.no_grad():
        for weight in (model.get_parameter("1.weight"), model.get_parameter("3.weight")):
            weight.copy_(weight[:1].expand_as(weight))
    inputs = prepared(model, *pictures(), [2, 3, 4], ["float"])
    flip = by_toggle(confounder_flips(inputs, uniform(inputs, 3), "twos", CALIBRATED, ()).flips)["T1"]
    assert (flip.status, flip.metric_change) == ("measured", 0)
    assert flip.cost_change == {"scale_bytes": -2 * (8 - 1) - 2 * (3 - 1)}  # float16, one scale a layer is left


def test_t2_loses_nothing_where_the_weights_lie_on_an_asymmetric_grid() -> None:
    model = perceptron()
    with torch.no_grad():
        for weight in (model.get_parameter("1.weight"), model.get_parameter("3.weight")):
            levels = torch.randint(0, 4, weight.shape).float()
            levels[:, 0], levels[:, 1] = 0, 3
            weight.copy_(levels / 16)
    inputs = prepared(model, *pictures(), [2, 4], ["float"])
    ablation = confounder_flips(inputs, uniform(inputs, 2), "twos", CALIBRATED, ())
    flip, problem = by_toggle(ablation.flips)["T2"], inputs.problem
    whole = evaluate(problem.model, problem.validation, problem.task, device=problem.device).metric
    assert ablation.unflipped_metric + flip.metric_change == pytest.approx(whole)
    assert flip.cost_change == {"zero_point_bytes": 8 + 3}


def test_t3_flips_to_what_the_inputs_are_not() -> None:
    torch.manual_seed(0)
    x, y = pictures()
    model = trained_statistics(Depthwise())
    unsigned = prepared(model, x.abs(), y, [2, 4], [4, 8])
    flip = by_toggle(confounder_flips(unsigned, uniform(unsigned, 4, 4), "twos", CALIBRATED, ()).flips)["T3"]
    assert flip.what == "symmetric activations everywhere"
    assert flip.note.startswith("4 of 4 inputs are never negative")
    layer = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    signed = prepared(layer, x, y, [2, 4], [4, 8])
    flip = by_toggle(confounder_flips(signed, uniform(signed, 4, 4), "twos", CALIBRATED, ()).flips)["T3"]
    assert flip.what == "asymmetric activations everywhere"
    assert flip.cost_change == {"zero_point_bytes": 1}


def test_flips_of_bits_end_where_those_bits_start(images: CardInputs) -> None:
    """T4 to T6 arrive at the unflipped metric of the allocation they flip to."""
    allocation, layers = uniform(images, 3, 4), images.problem.space.layers
    ablation = confounder_flips(images, allocation, "twos", CALIBRATED, ())
    flips = by_toggle(ablation.flips)
    ends = Allocation({**allocation, "stem": Choice(8, 8), "head": Choice(8, 8)})
    floating = uniform(images, 3)
    for toggle, other in (("T4", ends), ("T5", floating), ("T6", rounded_to_kernels(images.problem.space, allocation))):
        there = confounder_flips(images, other, "twos", CALIBRATED, ()).unflipped_metric
        assert flips[toggle].status == "measured"
        assert ablation.unflipped_metric + flips[toggle].metric_change == pytest.approx(there)
    assert flips["T4"].cost_change["weight_bytes"] == sum(
        -(-layer.weights * 8 // 8) + -layer.weights * 3 // 8 for layer in layers if layer.name in ("stem", "head")
    )
    assert flips["T5"].cost_change["input_bytes"] == sum(layer.input_elements for layer in layers) * (32 - 4) / 8
    assert flips["T5"].cost_change["weight_bytes"] == 0
    assert flips["T6"].cost_change["weight_bytes"] <= 0
    assert ablation.samples == 96


def test_t7_needs_no_score(images: CardInputs) -> None:
    layers = images.problem.space.layers
    flip = by_toggle(confounder_flips(images, uniform(images, 3, 4), "twos", CALIBRATED, ()).flips)["T7"]
    elements = [layer.input_elements for layer in layers]
    assert flip.metric_change == "n/a"
    assert flip.cost_change["peak_input_bytes"] == max(elements) * 4 / 8
    assert flip.cost_change["mean_input_bytes"] == sum(elements) / len(elements) * 4 / 8
    assert flip.cost_change["peak_input_bytes_at_equal_sizes"] <= flip.cost_change["peak_input_bytes"]
    assert flip.cost_change["mean_input_bits_at_equal_sizes"] >= flip.cost_change["mean_input_bits"] == 4


def test_the_float_network_is_left_as_it_was(images: CardInputs) -> None:
    model = images.problem.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    confounder_flips(images, uniform(images, 2, 4), "twos", CALIBRATED, ())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks or hasattr(module, "input_quantizer") for module in model.modules())


def test_weights_only_has_no_activation_flips(images: CardInputs) -> None:
    flips = by_toggle(confounder_flips(images, uniform(images, 4), "twos", CALIBRATED, ()).flips)
    assert {toggle for toggle, flip in flips.items() if flip.status == "n/a"} == {"T3", "T5", "T6", "T8"}
    assert flips["T5"].note == "only weights are quantized, so no activation can be left out"
    assert flips["T6"].note == "all bits are in {2, 4, 8} already"
    assert flips["T7"].cost_change["mean_input_bits"] == 32
    assert flips["T9"].status == "not run"


def test_once_the_time_is_up_no_flip_is_measured_but_all_are_named(images: CardInputs) -> None:
    flips = by_toggle(confounder_flips(replace(images, limit=-1.0), uniform(images, 3, 4), "twos", CALIBRATED, ()).flips)
    left = [flip for flip in flips.values() if flip.note == OUT_OF_TIME]
    assert {flip.toggle for flip in left} == {"T1", "T2", "T3", "T4", "T5", "T6"}
    assert all((flip.status, flip.metric_change) == ("not run", "n/a") for flip in left)
    assert flips["T7"].status == "measured", "it is computed from the bits"


def test_one_bit_weights_have_no_asymmetric_format(images: CardInputs) -> None:
    flips = by_toggle(confounder_flips(images, uniform(images, 1), "twos", CALIBRATED, ()).flips)
    assert flips["T2"].status == "n/a"
    assert flips["T6"].status == "not run"  # 2 bits are more than 1


def test_t4_moves_mean_bits_by_the_share_of_the_ends(images: CardInputs) -> None:
    """By exactly (8 − b) φ, on networks of random sizes."""
    layers = images.problem.space.layers
    chance = random.Random(0)
    for bits in range(1, 8):
        sized = tuple(replace(layer, weight_shape=(chance.randint(1, 99), chance.randint(1, 99))) for layer in layers)
        weights = [layer.weights for layer in sized]
        after = ends_at(sized, uniform(images, bits), 8)
        share = (weights[0] + weights[-1]) / sum(weights)
        assert mean_bits(weights, [after[layer.name].weight.bits for layer in sized]) == pytest.approx(bits + (8 - bits) * share)


def test_ends_at_eight_already_are_flipped_the_other_way(images: CardInputs) -> None:
    layers = images.problem.space.layers
    flips = by_toggle(confounder_flips(images, ends_at(layers, uniform(images, 3), 8), "twos", CALIBRATED, ()).flips)
    assert flips["T4"].what == "first and last layer at 3 bits, the mean of the other layers, instead of 8"
    assert flips["T4"].cost_change["mean_weight_bits"] < 0
    flips = by_toggle(confounder_flips(images, uniform(images, 8), "twos", CALIBRATED, ()).flips)
    assert flips["T4"].status == "n/a"


def test_an_attentions_output_is_no_last_layer() -> None:
    layers = trace(Transformer().eval(), torch.randint(0, 50, (4, 12)))
    assert [layers[index].name for index in end_layers(layers)] == ["embedding", "head"]


def test_kernel_bits_take_no_more_and_stay_near(images: CardInputs) -> None:
    space = images.problem.space
    mixed = Allocation(dict(zip(space.names, [Choice(5, 6), Choice(3, 3), Choice(5, 8), Choice(8, 4)], strict=True)))
    rounded = rounded_to_kernels(space, mixed)
    assert {choice.weight.bits for choice in rounded.values()} <= {2, 4, 8}
    assert [choice.activation.bits for choice in rounded.values()] == [4, 2, 8, 4]

    def held(allocation: Allocation) -> int:
        return sum(layer.weights * allocation[layer.name].weight.bits for layer in space.layers)

    assert held(rounded) <= held(mixed)
    already = Allocation(dict(zip(space.names, [Choice(8), Choice(2), Choice(4), Choice(4)], strict=True)))
    assert rounded_to_kernels(space, already) == already
    with pytest.raises(BudgetError):
        rounded_to_kernels(space, uniform(images, 1))
