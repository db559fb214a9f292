"""What a layer's numbers can be, measured on networks baked by real methods."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mpsearch.card.inputs import CardInputs
from mpsearch.card.stored_numbers import StoredNumbers, code_names, family, stored_numbers, zero_exact
from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.methods import METHODS
from mpsearch.network.baked import CodedWeight, bake, install
from mpsearch.training.compiled import Compiler
from mpsearch.trials.evaluator import Evaluator
from tests.card.runs import CALIBRATED, pictures, prepared, uniform
from tests.networks import Depthwise, trained_statistics


def measured(inputs: CardInputs, allocation: Allocation, method: str, **settings: Any) -> list[StoredNumbers]:
    problem = inputs.problem
    chosen = METHODS[method](**settings)
    evaluator = Evaluator(problem, Compiler("off", torch.device("cpu")))
    network = evaluator.begin(allocation, chosen)
    evaluator.ptq(network, chosen, CALIBRATED)
    parts = bake(network)
    installed = install(problem.model, problem.space.layers, parts, integers=False)
    weights = [(layer, parts.layers[layer.name].weight) for layer in problem.space.layers]
    return [stored_numbers(installed, layer, weight) for layer, weight in weights if isinstance(weight, CodedWeight)]


@pytest.mark.parametrize(
    ("style", "bits", "shift", "lowest", "zero"),
    [("twos", 3, 0.0, True, True), ("narrow", 3, 0.0, False, True), ("half", 3, 0.5, True, False), ("twos", 1, 0.5, False, False)],
)
def test_uniform_grids(images: CardInputs, style: str, bits: int, shift: float, lowest: bool, zero: bool) -> None:
    found = measured(images, uniform(images, bits, 8), "lsq", grid=style)
    assert all(each.uniform and each.bits == bits == each.bits_used for each in found)
    assert {each.shift for each in found} == {shift}
    assert any(each.lowest_used for each in found) is lowest
    assert {each.zero for each in found} == {zero}
    assert family(found) == "uniform"


def test_sign_planes_are_shared_out_among_channels(images: CardInputs) -> None:
    found = measured(images, uniform(images, 2, 8), "alq")
    assert not any(each.uniform or each.lowest_used for each in found)
    assert family(found) == "multibit, sums of scaled signs"
    assert code_names(found) == "sign planes"
    assert all(1 <= each.bits_used <= 3 for each in found)


def test_float_weights_have_no_codes() -> None:
    torch.manual_seed(0)
    inputs = prepared(trained_statistics(Depthwise()), *pictures(), [2, 4, "float"], ["float"])
    names = inputs.problem.space.names
    mixed = Allocation({name: Choice(32) if name == names[0] else Choice(4) for name in names})
    assert len(measured(inputs, mixed, "lsq")) == len(names) - 1


def of(kind: str = "uniform", bits: int = 4, *, uniform: bool = True, zero: bool = True) -> StoredNumbers:
    return StoredNumbers(kind=kind, bits=bits, uniform=uniform, shift=0.0, lowest_used=False, zero=zero, bits_used=bits)


def test_words_for_layers_that_differ() -> None:
    assert family([of(), of("power_of_two", uniform=False)]) == "power of two and uniform, by layer"
    assert zero_exact([of(), of()]) == "yes"
    assert zero_exact([of(zero=False)]) == "no"
    assert zero_exact([of(), of(bits=1, zero=False)]) == "not at 1 bit"
    assert zero_exact([of(), of(zero=False)]) == "not in every layer"
    assert code_names([of("uniform"), of("half_step"), of("uniform")]) == "two's complement, half a step off zero; two's complement"
