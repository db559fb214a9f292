"""The table of learned bits: reverse water-filling, in measured nats, with activations of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT_BITS, as_format
from mpsearch.core.space import Space
from mpsearch.methods.ste import Ste
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.signals.base import SignalInputs
from mpsearch.signals.direct.fisher import fisher
from mpsearch.signals.learned.short_run import ShortRun, aim, widest
from mpsearch.signals.learned.table_of_bits import table_of_bits
from mpsearch.tasks.task import Task

BITS = {"0": 5.5, "2": 3.25, "4": 32.0}


def given(weights: tuple[int, ...] = (1, 2, 4, 8, FLOAT_BITS), activations: tuple[int, ...] = (FLOAT_BITS,)) -> SignalInputs:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 4)).eval()
    x = torch.randn(40, 6)
    space = Space(name="s", weights=weights, activations=activations).resolve(trace(model, x))
    batches = [(x[:25], torch.zeros(25)), (x[25:], torch.zeros(15))]
    return SignalInputs(
        model=model, space=space, calibration=Calibration.fit(model, space, [x]), batches=batches, task=Task.classification()
    )


def table(inputs: SignalInputs, bits: dict[str, float] = BITS) -> tuple[dict[tuple[str, Choice], float], dict[str, float]]:
    network = Network(inputs.model, inputs.space, inputs.calibration, Ste())
    made = table_of_bits("bsq", inputs, ShortRun(network=network, forwards=3.0, backwards=2.0, images=40), bits)
    cells = {(name, c): float(made.values[row, k]) for row, name in enumerate(made.layers) for k, c in enumerate(made.choices)}
    return cells, dict(made.bits)


def test_every_bit_is_worth_a_factor_four_and_float_is_free() -> None:
    cells, bits = table(given())
    for name in ("0", "2"):
        assert cells[name, Choice(1)] == pytest.approx(4 * cells[name, Choice(2)])
        assert cells[name, Choice(4)] == pytest.approx(256 * cells[name, Choice(8)])
        assert cells[name, Choice(FLOAT_BITS)] == 0
    assert all(cells["4", choice] == 0 for choice in given().space.choices)  # had no bits to learn
    assert bits == {"0": 5.5, "2": 3.25}


def test_at_the_learned_bits_each_weight_pays_the_same_price() -> None:
    """`−∂value/∂b` at b*, by weight, is the same for all layers."""
    inputs = given()
    cells, bits = table(inputs)
    sizes = {layer.name: layer.weights for layer in inputs.space.layers}
    prices = [np.log(4) * cells[name, Choice(1)] * 4 ** (1 - bits[name]) / sizes[name] for name in bits]
    assert prices[0] == pytest.approx(prices[1])


def test_the_unit_is_what_a_uniform_network_really_loses() -> None:
    inputs = given()
    cells, _ = table(inputs, {"0": 5.5, "2": 3.25, "4": 2.5})
    with torch.no_grad():
        model = given().model
        for name in ("0", "2", "4"):
            model.get_submodule(name).weight.copy_(inputs.calibration.weight(name, as_format(2)))  # the widest not above the mean, 3.8
        x = torch.cat([batch for batch, _ in inputs.batches])
        lost = float(inputs.task.divergence(inputs.model(x), model(x)).mean())
    assert sum(cells[name, Choice(2)] for name in ("0", "2", "4")) == pytest.approx(lost, rel=1e-4)


def test_activations_are_fishers() -> None:
    inputs = given(weights=(2, 4), activations=(2, 8))
    cells, _ = table(inputs)
    alone = given(weights=(FLOAT_BITS,), activations=(2, 8))
    expected = fisher(replace(inputs, space=alone.space))
    for row, name in enumerate(expected.layers):
        for column, choice in enumerate(expected.choices):
            other = Choice(4, 8 if choice.activation.bits == 2 else 2)
            difference = float(expected.values[row, column] - expected.values[row, 1 - column])
            assert cells[name, Choice(4, choice.activation.bits)] - cells[name, other] == pytest.approx(difference, abs=1e-9)


def test_the_aim_leaves_layers_room_to_differ() -> None:
    inputs = given()
    start = widest(inputs.space)
    assert {choice.weight.bits for choice in start.values()} == {8}
    for asked, found in ((1.4, 3.0), (4.2, 4.2), (7.9, 7.0), (None, 5.0)):
        assert aim(replace(inputs, target_bits=asked), start, 2.0) == found
    narrow = given(weights=(1, 2))
    assert 1 <= aim(replace(narrow, target_bits=1.2), widest(narrow.space), 2.0) <= 2


def test_the_start_is_the_widest_within_a_limit() -> None:
    space = given(weights=(4, 8, FLOAT_BITS), activations=(4, FLOAT_BITS)).space
    assert set(widest(space, 5).values()) == {Choice(4)}
    assert set(widest(space, 3).values()) == {Choice(4)}
    assert set(widest(space).values()) == {Choice(8)}
