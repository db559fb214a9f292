"""`TargetContract`: promised bytes are bytes on disk, what is read back is what was written, what cannot be held is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import ArtifactError, SpaceError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT, NUMBER_KINDS, NumberFormat
from mpsearch.core.space import LayerMenu, ResolvedSpace, Space
from mpsearch.methods import Method
from mpsearch.methods.alq import Alq
from mpsearch.methods.learned_range import LearnedRange
from mpsearch.methods.lsq import Lsq
from mpsearch.network.baked import Parts, bake, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.targets import TARGETS, Blueprint, Target, Writer, read_artifact, restricted
from mpsearch.tasks.outputs import same_values

__all__ = ["TargetContract"]

_FOUR, _EIGHT, _GROUPS = (NumberFormat.parse(text) for text in ("4", "8", "4g32"))
_FORMATS = [
    FLOAT,
    *(NumberFormat(name, bits) for name, kind in NUMBER_KINDS.items() for bits in (kind.widths if len(kind.widths) < 3 else (2, 3, 8))),
    *(NumberFormat.parse(text) for text in ("4g32", "3g32z", "4z", "8z", "tg32", "3k", "4kz")),
]
"""Every kind of number, one scale for a channel and for a group, zero points."""

_CASES = [*((format, FLOAT) for format in _FORMATS), *((format, input) for format in (FLOAT, _FOUR, _EIGHT) for input in (_FOUR, _EIGHT))]
"""Every format with a float input; quantized inputs with a few."""

every_case = pytest.mark.parametrize(("format", "activation"), _CASES, ids=lambda format: str(format))


class TargetContract:
    """Subclass it, name the class `Test…`, and set `target` to an instance of a registered target.

    A target that holds some kind of networks only overrides `network`, too.
    """

    target: Target

    @staticmethod
    def network() -> tuple[nn.Module, Tensor]:
        """A network that the target holds, always the same, and a batch."""
        return _convolutions()

    def test_is_registered_and_described(self) -> None:
        """Studies find the target by name; `mpsearch list` shows what it is."""
        assert TARGETS[self.target.name] is type(self.target), f"register it: @TARGETS.register('{self.target.name}')"
        assert self.target.description
        assert "\n" not in self.target.description
        assert Path(self.target.file).suffix

    @every_case
    def test_promised_is_on_disk_and_read_back_is_written(self, format: NumberFormat, activation: NumberFormat, tmp_path: Path) -> None:
        """Or each layer that the file cannot hold is refused, with a reason."""
        model, space, parts, x = self._baked(format, activation)
        if self._refusals(space, parts):
            return
        writer, path = self.target.writer(Blueprint.of(model, x, space, stores=[_trains(format).stores])), tmp_path / self.target.file
        size = writer.write(path, parts)
        assert size == self.target.deployed_bytes(path) == _promised(writer, space, parts)
        artifact = self.target.read(path)
        stored = {name: baked.weight_format for name, baked in parts.layers.items()}
        assert {name: choice.weight for name, choice in artifact.allocation.items()} == stored
        fresh, _ = self.network()
        assert artifact.parts(fresh).chosen(parts.allocation).allocation == parts.allocation
        with torch.no_grad():
            assert same_values(call(artifact.install(fresh), x), call(install(model, space.layers, parts), x))
        self.target.verify(path, parts, model, space.layers, x, size)
        assert [entry.name for entry in tmp_path.iterdir()] == [self.target.file]

    def test_holds_something(self) -> None:
        """At least one format of weights is not refused."""
        assert any(not self._refusals(space, parts) for _, space, parts, _ in (self._baked(format, FLOAT) for format in _FORMATS))

    @every_case
    def test_a_space_is_cut_to_what_the_file_holds(self, format: NumberFormat, activation: NumberFormat) -> None:
        """A menu of one format stays, or is refused by layer, target and reason."""
        _, space, parts, _ = self._baked(format, activation)
        method = _trains(format)
        refusals = self._refusals(space, parts)
        if refusals:
            with pytest.raises(SpaceError, match=f"target '{self.target.name}' can hold none of its menu"):
                restricted(space, self.target, [method])
        else:
            assert restricted(space, self.target, [method]) == (space, ())

    def test_a_file_of_another_size_or_network_is_found_out(self, tmp_path: Path) -> None:
        """What `verify` is for."""
        format, other = [kept for kept in (_EIGHT, _FOUR, FLOAT, _GROUPS) if not self._refusals(*self._baked(kept, FLOAT)[1:3])][:2]
        model, space, parts, x = self._baked(format, FLOAT)
        path = tmp_path / self.target.file
        size = self.target.writer(Blueprint.of(model, x, space, stores=[_trains(format).stores])).write(path, parts)
        with pytest.raises(ArtifactError, match=f"has {size} bytes but its cost was {size + 1}"):
            self.target.verify(path, parts, model, space.layers, x, size + 1)
        with pytest.raises(ArtifactError, match="gives other outputs"):
            self.target.verify(path, self._baked(other, FLOAT)[2], model, space.layers, x, size)

    def test_damaged_and_missing_files_are_one_clear_error(self, tmp_path: Path) -> None:
        """Never a traceback of somebody else's, never a network that is half read."""
        format = next(format for format in _FORMATS if not self._refusals(*self._baked(format, FLOAT)[1:3]))
        model, space, parts, x = self._baked(format, FLOAT)
        path = tmp_path / self.target.file
        with pytest.raises(ArtifactError, match=r"no artifact at"):
            self.target.read(path)
        self.target.writer(Blueprint.of(model, x, space, stores=[_trains(format).stores])).write(path, parts)
        assert type(read_artifact(path)) is type(self.target.read(path)), "another target takes this file for its own"
        whole = path.read_bytes()
        for cut in (0, 7, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:cut])
            with pytest.raises(ArtifactError):
                self.target.read(path)

    def _baked(self, format: NumberFormat, activation: NumberFormat) -> tuple[nn.Module, ResolvedSpace, Parts, Tensor]:
        return _baked(type(self).network, format, activation)

    def _refusals(self, space: ResolvedSpace, parts: Parts) -> list[str]:
        layers = [(layer, parts.layers[layer.name]) for layer in space.layers]
        reasons = [self.target.refuses(layer, baked.weight_format, baked.choice.activation) for layer, baked in layers]
        return [reason for reason in reasons if reason]


def _promised(writer: Writer, space: ResolvedSpace, parts: Parts) -> int:
    layers = [(layer, parts.layers[layer.name]) for layer in space.layers]
    own = (writer.layer_bytes(layer, b.weight_format, FLOAT if b.input is None else b.input.format) for layer, b in layers)
    return writer.overhead_bytes + sum(own)


class _Net(nn.Module):
    """A convolution with BatchNorm, one without, a grouped one and a linear layer; 32 divides the weights of every channel but one's."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(8, 16, 4, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.second = nn.Conv2d(16, 32, 2)
        self.grouped = nn.Conv2d(32, 32, 1, groups=32)
        self.head = nn.Linear(128, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[N, 3]`."""
        x = torch.relu(self.norm(self.first(x)))
        x = torch.relu(self.grouped(torch.relu(self.second(x))))
        logits: Tensor = self.head(nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))
        return logits


def _trains(format: NumberFormat) -> Method:
    """A method that trains a format."""
    candidates: tuple[Method, ...] = (Lsq(), Alq(), LearnedRange(levels="power_of_two"))
    return next(method for method in candidates if method.stores(format) is not None)


def _convolutions() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return _Net().eval(), torch.randn(12, 8, 6, 6)


@cache
def _traced(network: Callable[[], tuple[nn.Module, Tensor]]) -> tuple[nn.Module, Tensor, tuple[Layer, ...]]:
    """One for all formats, so that targets trace it once."""
    model, x = network()
    return model, x, trace(model, x)


@cache
def _baked(
    build: Callable[[], tuple[nn.Module, Tensor]], format: NumberFormat, activation: NumberFormat
) -> tuple[nn.Module, ResolvedSpace, Parts, Tensor]:
    """(Network, space of this one choice, its numbers after calibration, inputs)."""
    model, x, layers = _traced(build)
    narrow = {} if format.granularity == "channel" else {layer.name: LayerMenu(weights=(2,)) for layer in layers if _divided(layer, format)}
    space = Space(name="one", weights=(format,), activations=(activation,), layers=narrow).resolve(layers)
    network = Network(model, space, Calibration.fit(model, space, [x]), _trains(format))
    network.begin(Allocation({name: only for name, (only,) in zip(space.names, space.menus, strict=True)}))
    return model, space, bake(network), x


def _divided(layer: Layer, format: NumberFormat) -> bool:
    """Whether an output channel is no whole number of groups."""
    size = 256 if format.in_superblocks else format.group
    return size is not None and (layer.weights // layer.channels % size != 0 or (size == 256 and bool(layer.norm)))
