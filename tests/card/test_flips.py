"""Flips change one factor: each against arithmetic or against the same thing done by hand."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from mpsearch.allocate.solve import solve
from mpsearch.card.arithmetic import fair_mean_bits, mean_bits
from mpsearch.card.flips import confounder_flips, end_layers, ends_at, rounded_to_kernels
from mpsearch.card.inputs import CardInputs
from mpsearch.card.relabel import TrueLabels, relabelled
from mpsearch.card.sections import Flip
from mpsearch.card.variants import Bench, Variant, quantized_rows
from mpsearch.config.study import validate_study
from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import BudgetError
from mpsearch.core.progress import Silent
from mpsearch.core.table import Table
from mpsearch.data.base import Splits, as_split
from mpsearch.methods import METHODS
from mpsearch.network.calibrate import Calibration
from mpsearch.run.setup import assemble
from mpsearch.signals import compute_signal
from mpsearch.signals.base import SignalInputs
from mpsearch.tasks.task import Task
from mpsearch.training.compiled import Compiler
from mpsearch.training.evaluate import evaluate
from mpsearch.training.recipe import Recipe
from mpsearch.trials.evaluator import Evaluator
from tests.networks import Depthwise, Transformer, trained_statistics

RECIPE = Recipe(batch_size=32, reestimate=96, precision="float32")


def experiment(model: nn.Module, x: Tensor, y: Tensor, weights: list[int], acts: list[object], budget: str = "3bit") -> CardInputs:
    config = validate_study(
        {
            "name": "t",
            "data": {"source": "memory"},
            "model": {"factory": "t:t"},
            "space": {"weights": weights, "activations": acts},
            "budgets": [budget],
            "methods": {"lsq": {}},
            "recipe": {"batch_size": 32, "reestimate": 96, "precision": "float32"},
            "signals": {"names": ["fisher"], "images": 64},
            "device": "cpu",
        },
        label="t",
    )
    third = len(x) // 3
    parts = [as_split(TensorDataset(x[i * third : (i + 1) * third], y[i * third : (i + 1) * third])) for i in range(3)]
    splits = Splits(name="t", train=parts[0], validation=parts[1], test=parts[2], task=Task.classification(), fingerprint="t")
    made = assemble(config, splits, model, Silent())
    return CardInputs(config=config, splits=splits, problem=made.problem)


@pytest.fixture(scope="module")
def images() -> CardInputs:
    torch.manual_seed(0)
    x = torch.randn(288, 1, 8, 8)
    y = torch.randint(0, 3, (288,))
    x[torch.arange(288), 0, 2 * y] += 2.0
    model = trained_statistics(Depthwise())
    return experiment(model, x, y, [1, 2, 3, 4, 5, 8], [3, 4, 6, 8])


def uniform(which: CardInputs, weight_bits: int, act_bits: int = 32) -> Allocation:
    return Allocation({name: Choice(weight_bits, act_bits) for name in which.problem.space.names})


def by_toggle(flips: list[Flip]) -> dict[str, Flip]:
    assert [flip.toggle for flip in flips] == [f"T{number}" for number in range(1, 10)]
    return {flip.toggle: flip for flip in flips}


def test_unflipped_is_what_calibration_alone_scores(images: CardInputs) -> None:
    """The same loss as the pipeline's own calibrated network, up to its half-precision scales."""
    evaluator, method = Evaluator(images.problem, Compiler("off", torch.device("cpu"))), METHODS["lsq"]()
    bench = Bench(images.problem, "twos", RECIPE)
    for choice in (Choice(3, 4), Choice(4, 8), Choice(8, 8)):
        allocation = images.problem.space.uniform(choice)
        network = evaluator.begin(allocation, method)
        expected = evaluator.ptq(network, method, RECIPE)
        assert bench.score(Variant(allocation=allocation)).loss == pytest.approx(expected.loss, rel=0.03)


def test_one_factor_a_flip(images: CardInputs) -> None:
    problem = images.problem
    layers, allocation = problem.space.layers, uniform(images, 3, 4)
    ablation = confounder_flips(images, allocation, "twos", RECIPE, ())
    flips, bench = by_toggle(ablation.flips), Bench(problem, "twos", RECIPE)
    base = bench.score(Variant(allocation=allocation)).metric
    assert ablation.unflipped_metric == base
    assert ablation.samples == 96
    variants = {
        "T1": Variant(allocation=allocation, weights="tensor"),
        "T2": Variant(allocation=allocation, weights="asymmetric"),
        "T3": Variant(allocation=allocation, activations="symmetric"),
        "T4": Variant(allocation=ends_at(layers, allocation, 8)),
        "T5": Variant(allocation=uniform(images, 3)),
        "T6": Variant(allocation=rounded_to_kernels(problem.space, allocation)),
    }
    for toggle, variant in variants.items():
        assert flips[toggle].status == "measured"
        assert flips[toggle].metric_change == pytest.approx(bench.score(variant).metric - base)
    assert flips["T1"].cost_change == {"scale_bytes": -2 * sum(layer.channels - 1 for layer in layers)}
    assert flips["T2"].cost_change == {"zero_point_bytes": sum(layer.channels for layer in layers)}
    assert flips["T5"].cost_change["input_bytes"] == sum(layer.input_elements for layer in layers) * (32 - 4) / 8
    assert flips["T5"].cost_change["weight_bytes"] == 0
    assert flips["T7"].cost_change["peak_input_bytes"] == max(layer.input_elements for layer in layers) * 4 / 8
    assert (flips["T8"].status, flips["T9"].status) == ("n/a", "not run")
    assert "second checkpoint" in flips["T9"].note
    assert not any(hasattr(module, "input_quantizer") for module in problem.model.modules())


def test_the_same_bits_on_another_checkpoint(images: CardInputs) -> None:
    allocation, problem = uniform(images, 3, 4), images.problem
    same = by_toggle(confounder_flips(replace(images, other=problem), allocation, "twos", RECIPE, ()).flips)["T9"]
    assert (same.status, same.metric_change) == ("measured", 0)
    torch.manual_seed(1)
    other = trained_statistics(Depthwise())
    train = problem.train.take(64, problem.seed)
    ranges = Calibration.fit(other, problem.space, [inputs for inputs, _ in train.batches(64)])
    swapped = replace(images, problem=replace(problem, model=other, calibration=ranges))
    flip = by_toggle(confounder_flips(replace(images, other=swapped.problem), allocation, "twos", RECIPE, ()).flips)["T9"]
    scores = [Bench(one.problem, "twos", RECIPE).score(Variant(allocation=allocation)).metric for one in (images, swapped)]
    assert flip.metric_change == scores[1] - scores[0]
    own, theirs = (evaluate(model, problem.validation, problem.task, device=problem.device).metric for model in (problem.model, other))
    assert flip.note == f"before quantization its accuracy is {theirs:.4f}, that of the run's own {own:.4f}"


def test_weights_only_has_no_activation_flips(images: CardInputs) -> None:
    flips = by_toggle(confounder_flips(images, uniform(images, 4), "twos", RECIPE, ()).flips)
    assert {toggle for toggle, flip in flips.items() if flip.status == "n/a"} == {"T3", "T5", "T6", "T8"}
    assert flips["T5"].note == "nothing but weights is quantized, so there is no coverage of activations to change"
    assert flips["T6"].note == "all bits are in {2, 4, 8} already"
    assert flips["T7"].cost_change["mean_input_bits"] == 32


def test_one_bit_weights_have_no_asymmetric_format(images: CardInputs) -> None:
    flips = by_toggle(confounder_flips(images, uniform(images, 1), "twos", RECIPE, ()).flips)
    assert flips["T2"].status == "n/a"
    assert flips["T6"].status == "not run"  # 2 bits are more than 1
    rows = torch.randn(3, 20)
    assert torch.equal(quantized_rows(rows, 1, "asymmetric", "twos"), quantized_rows(rows, 1, "row", "twos"))
    assert not torch.equal(quantized_rows(rows, 2, "asymmetric", "twos"), quantized_rows(rows, 2, "row", "twos"))
    assert len(quantized_rows(rows, 2, "tensor", "twos").unique()) <= 4


def test_t4_moves_mean_bits_by_the_share_of_the_ends(images: CardInputs) -> None:
    """Exactly (8 − b) φ, on networks of random sizes."""
    layers = images.problem.space.layers
    chance = random.Random(0)
    for bits in range(1, 8):
        sized = tuple(replace(layer, weight_shape=(chance.randint(1, 99), chance.randint(1, 99))) for layer in layers)
        weights = [layer.weights for layer in sized]
        after = ends_at(sized, uniform(images, bits), 8)
        ends = end_layers(sized)
        share = sum(weights[index] for index in ends) / sum(weights)
        change = mean_bits(weights, [after[layer.name].weight_bits for layer in sized]) - bits
        assert change == pytest.approx((8 - bits) * share)
        assert bits + change == pytest.approx(fair_mean_bits(bits, share))


def test_ends_at_eight_already_are_flipped_the_other_way(images: CardInputs) -> None:
    layers = images.problem.space.layers
    flips = by_toggle(confounder_flips(images, ends_at(layers, uniform(images, 3), 8), "twos", RECIPE, ()).flips)
    assert flips["T4"].what == "first and last layer at 3 bits, as the rest on average, instead of 8"
    assert flips["T4"].cost_change["mean_weight_bits"] < 0
    flips = by_toggle(confounder_flips(images, uniform(images, 8), "twos", RECIPE, ()).flips)
    assert flips["T4"].status == "n/a"


def test_an_attentions_output_is_no_last_layer() -> None:
    from mpsearch.network.trace import trace

    layers = trace(Transformer().eval(), torch.randint(0, 50, (4, 12)))
    assert [layers[index].name for index in end_layers(layers)] == ["embedding", "head"]


def test_kernel_bits_take_no_more_and_stay_near(images: CardInputs) -> None:
    space = images.problem.space
    names = space.names
    mixed = Allocation(dict(zip(names, [Choice(5, 6), Choice(3, 3), Choice(5, 8), Choice(8, 4)], strict=True)))
    rounded = rounded_to_kernels(space, mixed)
    assert {choice.weight_bits for choice in rounded.values()} <= {2, 4, 8}
    assert [choice.act_bits for choice in rounded.values()] == [4, 2, 8, 4]

    def held(allocation: Allocation) -> int:
        return sum(layer.weights * allocation[layer.name].weight_bits for layer in space.layers)

    assert held(rounded) <= held(mixed)
    already = Allocation(dict(zip(names, [Choice(8), Choice(2), Choice(4), Choice(4)], strict=True)))
    assert rounded_to_kernels(space, already) == already
    with pytest.raises(BudgetError):
        rounded_to_kernels(space, uniform(images, 1))


def fisher(which: CardInputs, task: Task) -> Table:
    problem = which.problem
    batches = list(problem.train.take(64, 0).batches(64))
    return compute_signal(
        "fisher",
        SignalInputs(model=problem.model, space=problem.space, calibration=problem.calibration, batches=batches, task=task),
    )


def test_t8_gives_the_signal_the_true_labels(images: CardInputs) -> None:
    problem = images.problem
    drawn = fisher(images, problem.task)
    bench = Bench(problem, "twos", RECIPE)
    flip = relabelled(images, bench, [drawn])
    assert flip.status == "measured"
    assert flip.what == "true labels instead of those the network generates in signal 'fisher'"
    targets = [targets for _, targets in problem.train.take(64, 0).batches(64)]
    true = fisher(images, replace(problem.task, sample=TrueLabels(targets)))
    assert not np.allclose(true.values, drawn.values, equal_nan=True)
    scores = [
        bench.score(Variant(allocation=solve(problem.space, table, problem.costs, problem.budgets).allocation)).metric
        for table in (drawn, true)
    ]
    assert flip.metric_change == pytest.approx(scores[1] - scores[0])
    assert set(flip.cost_change) == set(problem.costs)


def test_t8_without_labels_too_dear_or_impossible(images: CardInputs) -> None:
    table, bench = fisher(images, images.problem.task), Bench(images.problem, "twos", RECIPE)
    assert relabelled(images, bench, []).note == "no signal was computed"
    passive = replace(table, cost={**table.cost, "backwards": 0.0})
    assert "differentiates a loss" in relabelled(images, bench, [passive]).note
    dear = relabelled(images, bench, [replace(table, cost={**table.cost, "seconds": 999.0})])
    assert (dear.status, dear.metric_change) == ("not run", "n/a")

    def refuse(outputs: Tensor, targets: Tensor) -> Tensor:
        raise RuntimeError("shapes differ\nsecond line")

    odd = replace(images, problem=replace(images.problem, task=replace(images.problem.task, sampled_loss=refuse)))
    assert relabelled(odd, bench, [table]).note == "signal 'fisher' cannot take other labels: shapes differ"


def test_true_labels_come_in_order_and_from_the_start_again() -> None:
    labels = TrueLabels([torch.tensor([1, 2, 3]), torch.tensor([4, 5])])
    generator = torch.Generator()
    assert labels(torch.zeros(2, 9), generator).tolist() == [1, 2]
    assert labels(torch.zeros(4, 9), generator).tolist() == [3, 4, 5, 1]
    assert labels.read == 6
