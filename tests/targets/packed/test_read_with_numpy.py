"""The reader in docs/read_with_numpy.md gives the numbers of the delivered network, bit for bit, where only NumPy can be imported."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mpsearch.core.choice import Choice
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT, NUMBER_KINDS, Granularity, NumberFormat
from mpsearch.network.baked import BakedLayer, CodedWeight, FloatWeight, Parts, QuantizedInput, fixed_act_quantizer, install, rest_of_state
from mpsearch.network.trace import trace
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.stored import StoredNumbers
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.packed.artifact import read_artifact
from mpsearch.targets.packed.write import PackedWriter
from tests.networks import NETWORKS, trained_statistics

PAGE = Path(__file__).parents[3] / "docs" / "read_with_numpy.md"
OUTLINE, READER, QUANTIZE = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)

NOTHING_BUT_NUMPY = """
import sys

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "numpy"}:
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Refuses())
"""

SAVES = """
outline = json.load(open("outline.json"))
layers, others = read("model.safetensors", outline)
found = {f"other:{name}": tensor for name, tensor in others.items()}
for name, layer in layers.items():
    found[f"weight:{name}"] = layer["weight"]
    if layer["bias"] is not None:
        found[f"bias:{name}"] = layer["bias"]
    if layer["input"] is not None:
        found[f"rounded:{name}"] = quantize(np.load("inputs.npy"), **layer["input"])
np.savez("found.npz", **found)
"""


def python(code: str, folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def random_format(layer: Layer, shared: Granularity, random: np.random.Generator) -> NumberFormat:
    kinds = [kind for _, kind in NUMBER_KINDS.items() if kind.grouped or shared == "channel"]
    kind = kinds[int(random.integers(len(kinds)))]
    bits = int(random.choice(kind.widths))
    return NumberFormat(kind.name, bits, shared, zero_point=kind.zero_points and bits > 1 and bool(random.integers(2)))


def random_weight(rows: Rows, format: NumberFormat, layer: Layer, random: np.random.Generator) -> CodedWeight:
    """Any codes that the format can hold."""
    count = rows.count
    low, high = -(2 ** (format.bits - 1)), 2 ** (format.bits - 1)
    scales = random.uniform(0.001, 1, count)
    if format.kind == "ternary":
        low, high = -1, 2
    if format.kind == "multibit":
        low, high = 0, 256
        scales = random.uniform(0.1, 1, (count, 8)) * random.choice([-1, 1], (count, 8))
        scales.reshape(-1)[random.permutation(scales.size)[: count * (8 - format.bits)]] = 0
    codes = random.integers(low, high, (count, layer.weights // count)).astype(np.int16)
    zeros = torch.from_numpy(random.integers(low, high, count).astype(np.int8)) if format.zero_point else None
    stored = StoredNumbers.of(torch.from_numpy(scales).float() * 2.0 ** int(random.integers(-30, 9)), wide=layer.wide)
    return CodedWeight(format=format, codes=torch.from_numpy(codes), scales=stored, zeros=zeros)


def random_layer(model: nn.Module, layer: Layer, shared: Granularity, random: np.random.Generator) -> BakedLayer:
    weight: FloatWeight | CodedWeight
    if random.integers(5) == 0:
        weight = FloatWeight(values=torch.from_numpy(random.standard_normal(layer.weight_shape)).float())
    else:
        weight = random_weight(Rows.of_layer(model, layer, shared), random_format(layer, shared, random), layer, random)
    bias: StoredNumbers | torch.Tensor | None = None
    if layer.bias_elements:
        numbers = torch.from_numpy(random.standard_normal(layer.bias_elements)).float()
        bias = StoredNumbers.of(numbers, wide=layer.wide) if layer.norm else numbers
    input = None
    if layer.act_quantizable and random.integers(3):
        kind, step = ("uniform", "power_of_two")[random.integers(2)], torch.tensor(random.uniform(0.01, 2)).float()
        input = QuantizedInput(format=NumberFormat(kind, int(random.integers(2, 9))), signed=bool(random.integers(2)), step=step)
    format = FLOAT if isinstance(weight, FloatWeight) else weight.format
    return BakedLayer(choice=Choice(format, FLOAT if input is None else input.format), weight=weight, bias=bias, input=input)


def written(name: str, seed: int, folder: Path) -> tuple[tuple[Layer, ...], Parts]:
    """A network with random numbers in random formats, as a file, and its outline."""
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    factory, inputs = NETWORKS[name]
    model, x = trained_statistics(factory()), inputs()
    layers = tuple(replace(layer, wide=bool(layer.norm) and bool(random.integers(2))) for layer in trace(model, x))
    wanted: list[Granularity] = ["channel", "tensor", 32]
    shared = [wanted[int(random.integers(2 if layer.weights // layer.channels % 32 else 3))] for layer in layers]
    blueprint = Blueprint(architecture=model, inputs=x, layers=layers, granularity=tuple(shared) if seed else ())
    state = model.state_dict()
    parts = Parts(
        layers={
            layer.name: random_layer(model, layer, each if seed else "channel", random) for layer, each in zip(layers, shared, strict=True)
        },
        rest={name: state[name] for name in rest_of_state(model, layers)},
    )
    PackedWriter(blueprint).write(folder / "model.safetensors", parts)
    scope: dict[str, Any] = {"model": factory(), "open": lambda path, mode: (folder / path).open(mode)}
    exec(OUTLINE, scope)
    return layers, parts


def expected(model: nn.Module, layers: tuple[Layer, ...], parts: Parts, x: torch.Tensor) -> Mapping[str, torch.Tensor]:
    loaded = model.state_dict()
    values = {f"other:{name}": loaded[name] for name in parts.rest if loaded[name].dtype == torch.float32}
    for layer in layers:
        values[f"weight:{layer.name}"] = loaded[f"{layer.module}.{layer.parameter}".lstrip(".")]
        if layer.bias_elements:
            values[f"bias:{layer.name}"] = loaded[f"{layer.module}.bias".lstrip(".")]
        input = parts.layers[layer.name].input
        if input is not None:
            values[f"rounded:{layer.name}"] = fixed_act_quantizer(input)(x)
    return values


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", NETWORKS)
def test_numbers_are_those_of_the_network_to_the_bit(name: str, seed: int, tmp_path: Path) -> None:
    layers, parts = written(name, seed, tmp_path)
    x = torch.cat([torch.randn(200) * 3, torch.zeros(1), torch.linspace(-4, 4, 33)])
    np.save(tmp_path / "inputs.npy", x.numpy())
    python(NOTHING_BUT_NUMPY + READER + QUANTIZE + SAVES, tmp_path)
    with np.load(tmp_path / "found.npz") as file:
        found = dict(file)
    artifact, model = read_artifact(tmp_path / "model.safetensors"), NETWORKS[name][0]()
    loaded = install(model, artifact.layers(model), artifact.parts(model), integers=False)
    wanted = expected(loaded, layers, parts, x)
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert found[key].dtype == np.float32
        np.testing.assert_array_equal(found[key], value.numpy(), err_msg=key)
        assert key.startswith("rounded") or found[key].tobytes() == value.contiguous().numpy().tobytes()  # zeros have signs, too


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    written("mlp", 0, tmp_path)
    content = bytearray((tmp_path / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(AssertionError, match="is no packed file of mpsearch, or was changed"):
        python(NOTHING_BUT_NUMPY + READER + QUANTIZE + SAVES, tmp_path)


def test_nothing_but_numpy_means_it(tmp_path: Path) -> None:
    for name in ("torch", "safetensors", "mpsearch"):
        with pytest.raises(AssertionError, match=f"{name} is not installed here"):
            python(f"{NOTHING_BUT_NUMPY}\nimport {name}", tmp_path)


def test_the_reader_is_short() -> None:
    lines = [line for line in READER.splitlines() if line.strip()]
    assert len(lines) <= 90
    assert max(map(len, lines)) <= 140
