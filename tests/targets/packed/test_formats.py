"""Every format through the whole house: the file has the bytes of the size cost, and what is loaded is bit for bit what was scored."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ArtifactError
from mpsearch.core.number_format import FLOAT_BITS, NUMBER_KINDS, NumberFormat, StoredAs
from mpsearch.core.space import Space
from mpsearch.costs.base import CostInputs
from mpsearch.costs.size import size
from mpsearch.methods.base import Method
from mpsearch.network.baked import CodedWeight, Parts, bake, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.quantizers import FixedActQuantizer, WeightQuantizer
from mpsearch.network.trace import trace
from mpsearch.numbers.grid import stored_as_grid
from mpsearch.numbers.kinds.multibit import MOST_BASES
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.description import compress, decompress
from mpsearch.targets.packed import layout
from mpsearch.targets.packed.artifact import read_artifact
from mpsearch.targets.packed.write import PackedWriter
from tests.networks import NETWORKS, trained_statistics

every_kind = pytest.mark.parametrize("kind", NUMBER_KINDS.names())


LETTERS = {"float": "-", "uniform": "u", "half_step": "h", "ternary": "t", "power_of_two": "p", "multibit": "m"}


class RandomWeight(WeightQuantizer):
    """Writes whatever its format can hold."""

    def __init__(self, rows: Any, stores: StoredAs) -> None:
        super().__init__(rows)
        self.stores = stores

    def begin(self, weight: Tensor, steps: Tensor) -> None:
        self.random = np.random.default_rng(self.bits)

    def steps(self, weight: Tensor) -> Tensor:
        raise NotImplementedError

    def export(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        channels, n = self.rows.split(weight).shape
        format, low, high = self.stores(NumberFormat("uniform", self.bits)), -(2 ** (self.bits - 1)), 2 ** (self.bits - 1)
        assert format is not None
        scales = self.random.uniform(0.1, 1, channels)
        if format.kind == "ternary":
            low, high = -1, 2
        if format.kind == "multibit":
            low, high = 0, 256
            scales = self.random.uniform(0.1, 1, (channels, MOST_BASES))
            scales.reshape(-1)[self.random.permutation(scales.size)[: channels * (MOST_BASES - self.bits)]] = 0
        codes = self.random.integers(low, high, (channels, n)).astype(np.int16)
        return torch.from_numpy(codes), torch.from_numpy(scales).float()


@dataclass(frozen=True, kw_only=True)
class Writes(Method):
    kind: str = "uniform"

    def stores(self, asked: NumberFormat) -> NumberFormat:
        if asked.is_float or (self.kind == "ternary" and asked.bits != 2):
            return stored_as_grid(asked, self.grid)
        return NumberFormat(self.kind, asked.bits)

    def weight_quantizer(self, rows: Any) -> WeightQuantizer:
        return RandomWeight(rows, self.stores)

    def act_quantizer(self) -> FixedActQuantizer:
        return FixedActQuantizer()


def prepared(name: str, kind: str, seed: int = 0) -> tuple[Network, PackedWriter, Allocation, Any]:
    torch.manual_seed(0)
    factory, inputs = NETWORKS[name]
    model, x = trained_statistics(factory()), inputs()
    layers = trace(model, x)
    writer = PackedWriter(Blueprint(architecture=model, inputs=x, layers=layers))
    space = Space(name="all", weights=(1, 2, 3, 5, 8, FLOAT_BITS)).resolve(layers, file_overhead=writer.overhead_bytes)
    random = np.random.default_rng(seed)
    allocation = Allocation({name: menu[int(random.integers(len(menu)))] for name, menu in zip(space.names, space.menus, strict=True)})
    return Network(model, space, Calibration.fit(model, space, []), Writes(kind=kind)), writer, allocation, x


@every_kind
@pytest.mark.parametrize("name", NETWORKS)
def test_file_is_the_scored_network_and_exactly_as_large_as_its_cost(name: str, kind: str, tmp_path: Path) -> None:
    for seed in range(2):
        network, writer, allocation, x = prepared(name, kind, seed)
        network.begin(allocation)
        parts = bake(network)
        path = tmp_path / "model.safetensors"
        written = writer.write(path, parts)
        assert written == path.stat().st_size == size(CostInputs(space=network.space, formats=(network.method.stores,))).total(allocation)
        assert written <= size(CostInputs(space=network.space, formats=[Writes(kind=other).stores for other in NUMBER_KINDS])).total(
            allocation
        )
        artifact = read_artifact(path)
        stored = [network.stored(choice.weight) for choice in allocation.values()]
        assert [parts.layers[name].weight_format for name in allocation] == stored
        assert artifact.file.description.formats == "".join(LETTERS[format.kind] for format in stored)
        assert artifact.allocation == Allocation({n: Choice(w, allocation[n].activation) for n, w in zip(allocation, stored, strict=True)})
        assert parts.allocation == allocation
        scored, loaded = install(network.architecture, network.space.layers, parts), artifact.install(NETWORKS[name][0]())
        with torch.no_grad():
            assert torch.equal(call(loaded, x), call(scored, x))


def test_folding_multiplies_every_scale_by_its_channels_gain() -> None:
    network, _, _, _ = prepared("depthwise", "multibit")
    network.begin(network.space.uniform(Choice(3)))
    layer = network.space.layers[0]
    _, alphas = network.weight_quantizer(layer).export(network.latent_weight(layer))
    network.begin(network.space.uniform(Choice(3)))
    weight = bake(network).layers[layer.name].weight
    assert isinstance(weight, CodedWeight)
    norm: Any = network.model.get_submodule(layer.norm)
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    assert (gain < 0).any()
    torch.testing.assert_close(weight.scales.numbers(), alphas * gain[:, None], rtol=1e-3, atol=1e-6)


@pytest.fixture
def multibit(tmp_path: Path) -> tuple[Path, Parts]:
    network, writer, _, _ = prepared("depthwise", "multibit")
    network.begin(network.space.uniform(Choice(2)))
    parts = bake(network)
    writer.write(tmp_path / "m.safetensors", parts)
    return tmp_path / "m.safetensors", parts


def forged(path: Path, change: Callable[[dict[str, str], dict[str, bytearray]], None]) -> Path:
    """The file with changed content and a file_digest that fits it."""
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    entries = json.loads(whole[8 : 8 + length])
    metadata, body = entries.pop("__metadata__"), whole[8 + length :]
    tensors = {name: bytearray(body[slice(*entry["data_offsets"])]) for name, entry in entries.items()}
    change(metadata, tensors)
    metadata["digest"] = layout.file_digest(metadata, tensors)
    text = json.dumps({"__metadata__": metadata, **entries}).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(tensors.values()))
    return path


@pytest.mark.parametrize("formats", ["xmmm", "mmm", "mmmmm", "-mmm", "", "mmm\n"])
def test_formats_that_are_none(multibit: tuple[Path, Parts], formats: str) -> None:
    path = forged(multibit[0], lambda metadata, _: metadata.update(formats=formats))
    with pytest.raises(ArtifactError, match="describes no model that can be read"):
        read_artifact(path)


@pytest.mark.parametrize("bits", ["2--" * 3, "2--" * 3 + "9--", "2--" * 3 + "2-u", "2--" * 3 + "24-", "2--" * 3 + "---", "x"])
def test_bits_that_are_none(multibit: tuple[Path, Parts], bits: str) -> None:
    path = forged(multibit[0], lambda metadata, _: metadata.update(bits=bits))
    with pytest.raises(ArtifactError, match="describes no model that can be read"):
        read_artifact(path)


@pytest.mark.parametrize("layers", [[["stem", "weight"]], {"stem": "weight"}, [["stem", "weight", ""]] * 3 + [["head", "weight", 3]], None])
def test_layers_that_are_none(multibit: tuple[Path, Parts], layers: Any) -> None:
    def change(metadata: dict[str, str], _: Any) -> None:
        metadata["model"] = compress({**decompress(metadata["model"]), "layers": layers})

    with pytest.raises(ArtifactError, match="describes no model that can be read"):
        read_artifact(forged(multibit[0], change))


@pytest.mark.parametrize("wire", [["stem", "forward", "bn1"], ["stem", "weight", "bn7"], ["stem", "weight", "bn1", "stem.forward"]])
def test_wiring_to_what_is_no_weight(multibit: tuple[Path, Parts], wire: list[str]) -> None:
    def change(metadata: dict[str, str], _: Any) -> None:
        plain = decompress(metadata["model"])
        metadata["model"] = compress({**plain, "layers": [wire, *plain["layers"][1:]]})

    with pytest.raises(ArtifactError, match="is not in this model"):
        read_artifact(forged(multibit[0], change)).install(NETWORKS["depthwise"][0]())


def _relabelled(metadata: dict[str, str], _: dict[str, Any], letter: str) -> None:
    metadata["formats"] = letter * 4


def test_another_formats_bytes_do_not_fit(multibit: tuple[Path, Parts]) -> None:
    for letter in "uhtp":
        path = forged(multibit[0], partial(_relabelled, letter=letter))
        with pytest.raises(ArtifactError, match=r"more values than this model|cannot be unpacked"):
            read_artifact(path).install(NETWORKS["depthwise"][0]())


def test_numbers_of_bases_that_do_not_add_up(multibit: tuple[Path, Parts]) -> None:
    def change(_: Any, tensors: dict[str, bytearray]) -> None:
        tensors["codes"][0] ^= 1

    with pytest.raises(ArtifactError, match="layer 'stem' cannot be unpacked"):
        read_artifact(forged(multibit[0], change)).install(NETWORKS["depthwise"][0]())


def test_bytes_that_are_no_trits(tmp_path: Path) -> None:
    network, writer, _, _ = prepared("depthwise", "ternary")
    network.begin(network.space.uniform(Choice(2)))
    writer.write(tmp_path / "t.safetensors", bake(network))

    def change(_: Any, tensors: dict[str, bytearray]) -> None:
        tensors["codes"][0] = 255

    with pytest.raises(ArtifactError, match="layer 'stem' cannot be unpacked"):
        read_artifact(forged(tmp_path / "t.safetensors", change)).install(NETWORKS["depthwise"][0]())


def test_every_truncation_and_every_flipped_byte_is_refused(multibit: tuple[Path, Parts]) -> None:
    path, _ = multibit
    whole = path.read_bytes()
    body = 8 + int.from_bytes(whole[:8], "little")
    for length in range(0, len(whole), 53):
        path.write_bytes(whole[:length])
        with pytest.raises(ArtifactError):
            read_artifact(path)
    for position in range(body, len(whole), 13):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        with pytest.raises(ArtifactError, match="changed after it was written"):
            read_artifact(path)


def test_the_version_before_is_said_to_be_none_of_ours(multibit: tuple[Path, Parts]) -> None:
    path = forged(multibit[0], lambda metadata, _: metadata.update(format="mpsearch-1"))
    with pytest.raises(ArtifactError, match="lack format=mpsearch-2"):
        read_artifact(path)
