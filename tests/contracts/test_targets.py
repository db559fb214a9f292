"""One contract for every registered target: promised bytes are bytes on disk, what is read back is what was written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import ArtifactError
from mpsearch.core.number_format import FLOAT, NUMBER_KINDS, NumberFormat
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.methods import METHODS
from mpsearch.network.baked import Parts, bake, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.targets import TARGETS, Blueprint, Target, restricted


class Net(nn.Module):
    """A convolution with BatchNorm, one without, a grouped one and a linear layer; 32 divides the weights of every channel but one's."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(8, 16, 4, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.second = nn.Conv2d(16, 32, 2)
        self.grouped = nn.Conv2d(32, 32, 1, groups=32)
        self.head = nn.Linear(128, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = torch.relu(self.grouped(torch.relu(self.second(x))))
        return self.head(nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))  # type: ignore[no-any-return]


FORMATS = [
    FLOAT,
    *(NumberFormat(name, bits) for name, kind in NUMBER_KINDS.items() for bits in (kind.widths if len(kind.widths) < 3 else (2, 3, 8))),
    *(NumberFormat.parse(text) for text in ("4g32", "3g32z", "4z", "8z", "tg32")),
]
"""Every kind of number, every granularity that the network can have, zero points."""


@pytest.fixture(params=TARGETS.names())
def target(request: pytest.FixtureRequest) -> Target:
    return TARGETS[request.param]()


def trained(format: NumberFormat) -> tuple[str, dict[str, str]]:
    """A method that trains a format, and its settings."""
    for name, settings in (("lsq", {}), ("alq", {}), ("learned_range", {"levels": "power_of_two"})):
        if METHODS[name](**settings).stores(format) is not None:  # type: ignore[arg-type]
            return name, settings
    raise LookupError(f"no method trains '{format}'")


def baked(format: NumberFormat, activation: NumberFormat) -> tuple[Net, ResolvedSpace, Parts, Tensor]:
    torch.manual_seed(0)
    model, x = Net().eval(), torch.randn(12, 8, 6, 6)
    narrow = {"grouped": NumberFormat("uniform", 2)}  # one weight an output channel
    layers = trace(model, x)
    space = Space(
        name="s",
        weights=(format,),
        activations=(activation,),
        layers={} if format.granularity == "channel" else {"grouped": _menu(narrow["grouped"])},
    ).resolve(layers)
    name, settings = trained(format)
    network = Network(model, space, Calibration.fit(model, space, [x]), METHODS[name](**settings))  # type: ignore[arg-type]
    network.begin(Allocation({name: menu[0] for name, menu in zip(space.names, space.menus, strict=True)}))
    return model, space, bake(network), x


def _menu(format: NumberFormat) -> object:
    from mpsearch.core.space import LayerMenu

    return LayerMenu(weights=(format,))


def promised(target: Target, blueprint: Blueprint, model: nn.Module, parts: Parts) -> int:
    layers = [(layer, parts.layers[layer.name]) for layer in blueprint.layers]
    own = (target.layer_bytes(layer, b.weight_format, FLOAT if b.input is None else b.input.format) for layer, b in layers)
    return target.overhead_bytes(blueprint, model) + sum(own)


@pytest.mark.parametrize("activation", [FLOAT, NumberFormat("uniform", 4)], ids=["af", "a4"])
@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_promised_is_on_disk_and_read_back_is_written(
    target: Target, format: NumberFormat, activation: NumberFormat, tmp_path: Path
) -> None:
    model, space, parts, x = baked(format, activation)
    blueprint, path = Blueprint.of("", {}, space), tmp_path / target.file
    refused = [why for layer in space.layers if (why := target.refuses(layer, parts.layers[layer.name].weight_format, activation))]
    if refused:
        pytest.skip(f"refused: {refused[0]}")
    size = target.write(path, blueprint, parts)
    assert size == path.stat().st_size == promised(target, blueprint, model, parts)
    artifact = target.read(path)
    stored = {name: layer.weight_format for name, layer in parts.layers.items()}
    assert {name: choice.weight for name, choice in artifact.allocation.items()} == stored
    with torch.no_grad():
        assert torch.equal(call(artifact.install(Net()), x), call(install(model, space.layers, parts), x))
    target.verify(path, parts, model, space.layers, x, size)
    assert [entry.name for entry in tmp_path.iterdir()] == [target.file]


def test_a_file_that_is_not_what_was_promised_is_refused(target: Target, tmp_path: Path) -> None:
    model, space, parts, x = baked(NumberFormat("uniform", 4), FLOAT)
    path = tmp_path / target.file
    size = target.write(path, Blueprint.of("", {}, space), parts)
    with pytest.raises(ArtifactError, match=f"has {size} bytes but its cost was {size + 1}"):
        target.verify(path, parts, model, space.layers, x, size + 1)
    _, _, others, _ = baked(NumberFormat("uniform", 8), FLOAT)
    with pytest.raises(ArtifactError, match="gives other outputs"):
        target.verify(path, others, model, space.layers, x, size)


def test_damaged_and_missing_files_are_one_clear_error(target: Target, tmp_path: Path) -> None:
    _, space, parts, _ = baked(NumberFormat("uniform", 4), FLOAT)
    path = tmp_path / target.file
    with pytest.raises(ArtifactError, match="no artifact at"):
        target.read(path)
    target.write(path, Blueprint.of("", {}, space), parts)
    whole = path.read_bytes()
    for cut in (0, 7, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ArtifactError):
            target.read(path)


def test_names_and_words(target: Target) -> None:
    assert TARGETS[target.name] is type(target)
    assert target.description
    assert target.file


def test_a_space_within_reach_stays_as_it_is(target: Target) -> None:
    _, space, _, _ = baked(NumberFormat("uniform", 4), FLOAT)
    same, said = restricted(space, target, [METHODS["lsq"]().stores])
    assert same is space
    assert not said
