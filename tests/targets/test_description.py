"""What a file says of its network: read back as written; forged words are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.number_format import NumberFormat
from mpsearch.core.space import Space
from mpsearch.methods import METHODS
from mpsearch.network.baked import bake
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.description import Description, compress, decompress, spelled, without_formats


def described() -> tuple[nn.Module, Blueprint, dict[str, str], dict[str, Choice]]:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(12, 32)
    weights = (NumberFormat("uniform", 3, zero_point=True), NumberFormat("uniform", 8, zero_point=True))
    space = Space(name="s", weights=weights, activations=(4, 32)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), METHODS["lsq"]())
    choices = {"0": Choice(weights[0], 4), "2": Choice(weights[1])}
    network.begin(Allocation(choices))
    blueprint = Blueprint.of(model, x, space, "m:f", {"a": 1})
    return model, blueprint, spelled(blueprint, bake(network)), choices


def test_read_back_is_what_was_written() -> None:
    model, blueprint, metadata, choices = described()
    found = Description.read(metadata)
    assert (found.model, found.options) == ("m:f", {"a": 1})
    assert dict(found.allocation) == choices
    assert found.input(0) == (NumberFormat("uniform", 4), True)
    assert found.input(1) is None
    assert [layer.weight_shape for layer in found.layers(model)] == [layer.weight_shape for layer in blueprint.layers]


def test_its_length_does_not_depend_on_the_formats() -> None:
    _, blueprint, metadata, _ = described()
    unknown = without_formats(blueprint)
    assert {key: len(value) for key, value in unknown.items()} == {key: len(value) for key, value in metadata.items()}


@pytest.mark.parametrize(
    ("key", "value"),
    [("bits", "34u8--x"), ("bits", "34u"), ("formats", "z?"), ("formats", "z"), ("model", "no base85\x00"), ("model", compress({}))],
)
def test_forged_words_are_refused(key: str, value: str) -> None:
    _, _, metadata, _ = described()
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says, the reader of the file puts it into a line
        Description.read({**metadata, key: value})


@pytest.mark.parametrize("layers", [[["0", "weight"]], "0", [[1, 2, 3]]])
def test_forged_layers_are_refused(layers: Any) -> None:
    _, _, metadata, _ = described()
    plain = {**decompress(metadata["model"]), "layers": layers}
    with pytest.raises(ValueError, match="layers"):
        Description.read({**metadata, "model": compress(plain)})
