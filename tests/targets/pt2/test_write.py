"""Networks of every kind: as large as promised, read back as written, and run by torch in a process that has no mpsearch."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import ArtifactError, ModelError
from mpsearch.core.number_format import FLOAT, FLOAT_BITS
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.methods import METHODS
from mpsearch.methods.base import Method
from mpsearch.network.baked import Parts, bake, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call, samples_of
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.targets import Blueprint, Writer
from mpsearch.targets.pt2.artifact import read_artifact
from mpsearch.targets.pt2.write import Pt2Writer
from tests.networks import NETWORKS, trained_statistics

RUNS = """
import sys

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mpsearch":
            raise ImportError(name)

sys.meta_path.insert(0, Refuses())
import torch

torch.set_num_threads(1)
for name in ("tied", "transposed", "recurrent", "cross_attention"):
    program = torch.export.load(f"{name}.pt2").module()
    for inputs, expected in torch.load(f"{name}.samples"):
        with torch.no_grad():
            found = program(**inputs) if isinstance(inputs, dict) else program(inputs)
        print("equal" if torch.equal(found, expected) else f"{name} differs")
"""
METHODS_HERE: tuple[Method, ...] = (METHODS["lsq"](grid="half"), METHODS["lsq"](grid="narrow"))
SPACE = Space(name="all", weights=(1, 2, 3, 5, 8, FLOAT_BITS), activations=(2, 8, FLOAT_BITS))


def promised(writer: Writer, space: ResolvedSpace, parts: Parts) -> int:
    held = [(layer, parts.layers[layer.name]) for layer in space.layers]
    own = (writer.layer_bytes(layer, b.weight_format, FLOAT if b.input is None else b.input.format) for layer, b in held)
    return writer.overhead_bytes + sum(own)


def prepared(model: nn.Module, x: Any, space: Space, methods: tuple[Method, ...]) -> tuple[ResolvedSpace, Writer]:
    resolved = space.resolve(trace(model, x))
    return resolved, Pt2Writer(Blueprint.of(model, x, resolved, stores=[method.stores for method in methods]))


def baked(model: nn.Module, x: Any, space: ResolvedSpace, method: Method, seed: int) -> Parts:
    random = np.random.default_rng(seed)
    network = Network(model, space, Calibration.fit(model, space, [x]), method)
    network.begin(Allocation({layer: menu[int(random.integers(len(menu)))] for layer, menu in zip(space.names, space.menus, strict=True)}))
    return bake(network)


@pytest.mark.slow
def test_torch_alone_computes_the_scored_networks(tmp_path: Path) -> None:
    """A tied weight, a transposed convolution, gates of recurrent layers, a dict of inputs; the contract runs over convolutions."""
    for number, name in enumerate(("tied", "transposed", "recurrent", "cross_attention")):
        torch.manual_seed(0)
        factory, inputs = NETWORKS[name]
        model, x = trained_statistics(factory()), inputs()
        space, writer = prepared(model, x, SPACE, METHODS_HERE)
        parts = baked(model, x, space, METHODS_HERE[number % 2], number)
        path = tmp_path / f"{name}.pt2"
        assert writer.write(path, parts) == path.stat().st_size == promised(writer, space, parts)
        scored = install(model, space.layers, parts)
        few = [samples_of(x, slice(0, count), 8) for count in (1, 7)]
        with torch.no_grad():
            assert torch.equal(call(read_artifact(path).install(factory()), x), call(scored, x))
            torch.save([(inputs, call(scored, inputs)) for inputs in few], tmp_path / f"{name}.samples")
    done = subprocess.run([sys.executable, "-c", RUNS], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("equal") == 8


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) if x.sum() > 0 else -self.linear(x)


def test_what_torch_cannot_trace_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"target 'pt2': torch\.export cannot trace the network with a free batch size .*--target packed"):
        prepared(Branches(), torch.ones(8, 4), SPACE, METHODS_HERE)


def test_a_changed_graph_or_another_architecture_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 3)), torch.randn(8, 4)
    space, writer = prepared(model, x, Space(name="few", weights=(2, 4)), METHODS_HERE)
    path = tmp_path / "model.pt2"
    writer.write(path, baked(model, x, space, METHODS_HERE[0], 0))
    with pytest.raises(ArtifactError, match="do not fit this model"):
        read_artifact(path).install(nn.Sequential(nn.Linear(5, 3)))
    with zipfile.ZipFile(path) as held:
        contents = {name: held.read(name) for name in held.namelist()}
    contents["model/models/model.json"] = contents["model/models/model.json"].replace(b"aten.linear", b"aten.lineal")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as forged:
        for name, content in contents.items():
            forged.writestr(name, content)
    with pytest.raises(ArtifactError, match="changed after it was written"):
        read_artifact(path)


def test_a_foreign_program_is_refused(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(2, 2),)), tmp_path / "other.pt2")
    with pytest.raises(ArtifactError, match="was not written by mpsearch"):
        read_artifact(tmp_path / "other.pt2")
