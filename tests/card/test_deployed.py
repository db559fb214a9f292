"""What is read off the delivered network: costs in closed form, formats as the file holds them, coverage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import mpsearch
from mpsearch.card.schema import Card
from tests.card.runs import card_of, searched


def test_costs_are_the_closed_form_and_the_file(result: mpsearch.Result, card: Card) -> None:
    layers = result.summary.layers
    assert card.precision.bits == result.allocation.to_dict()
    weight = {name: choice.weight.bits for name, choice in result.allocation.items()}
    act = {name: choice.activation.bits for name, choice in result.allocation.items()}
    assert card.costs.file_bytes == result.path.stat().st_size
    assert card.costs.bops == sum(layer.macs * weight[layer.name] * act[layer.name] for layer in layers)
    assert card.costs.weight_bytes == sum(-(-layer.weights * weight[layer.name] // 8) for layer in layers)
    weights = sum(layer.weights for layer in layers)
    assert card.costs.mean_weight_bits == pytest.approx(sum(layer.weights * weight[layer.name] for layer in layers) / weights)
    assert card.costs.mean_weight_bits_without_ends == weight[layers[1].name]
    assert card.costs.peak_activation_bytes <= card.costs.peak_live_bytes
    assert card.costs.mean_activation_bytes <= card.costs.peak_activation_bytes
    assert card.granularity.scales == sum(layer.channels for layer in layers) + len(layers)


def test_coverage(result: mpsearch.Result, card: Card) -> None:
    assert card.coverage.scope == "weights and layer inputs"
    assert card.coverage.tensors["network input"]["bits"] == [result.allocation["0"].activation.bits]
    assert set(card.coverage.float_ops) == {"relu"}
    assert card.formats.weights["family"] == "uniform"
    assert card.formats.weights["zero_exact"] == "yes"


@pytest.mark.parametrize(
    ("methods", "family", "zero", "datatype"),
    [
        ({"alq": {}}, "multibit, sums of scaled signs", "no", "bits, multibit"),
        ({"learned_range": {"levels": "power_of_two"}}, "power of two", "no", "bits, power of two"),
        ({"lsq": {"grid": "narrow"}}, "uniform", "yes", "int"),
    ],
    ids=["alq", "powers of two", "lsq"],
)
def test_formats_are_what_the_file_holds(tmp_path: Path, methods: Any, family: str, zero: str, datatype: str) -> None:
    result = searched(tmp_path, methods=methods, trials=1, epochs=1)
    card = card_of(result)
    assert card.formats.weights["family"] == family
    assert card.formats.weights["zero_exact"] == zero
    assert all(datatype in each for each in card.hardware.datatypes["weights"])
    assert (card.hardware.accumulator_bits == "n/a: no layer multiplies integers by integers") == (family != "uniform")
    if "alq" in methods:
        planes = card.precision.fractional_bits
        assert {name: round(bits) for name, bits in planes.items()} == {name: c.weight.bits for name, c in result.allocation.items()}
        assert card.formats.weights["codes"] == "sign planes"
        assert card.hardware.requantization == "one multiplication by a scale per sign plane and output channel"
    else:
        assert card.precision.fractional_bits == "n/a: bits are whole within a layer"
        assert card.hardware.requantization == "one multiplication by a scale per output channel"


def test_powers_of_two_of_activations_are_said(tmp_path: Path) -> None:
    card = card_of(searched(tmp_path, methods={"learned_range": {"act_levels": "power_of_two"}}, trials=1, epochs=1))
    assert card.formats.activations["family"] == "power of two"
    assert card.formats.activations["zero_exact"] == "not where negative"
    assert card.formats.activations["rounding"] == "nearest logarithm"
    assert any(each.endswith("bits, sign and power of two") for each in card.hardware.datatypes["layer inputs"])
    assert any(each.endswith("bits, zero and power of two") for each in card.hardware.datatypes["layer inputs"])
    assert card.hardware.accumulator_bits == "n/a: no layer multiplies integers by integers"
    assert not card.hardware.runtimes["any integer bits, one scale per output channel"]
