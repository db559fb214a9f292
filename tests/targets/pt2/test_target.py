"""Reading a file does not load its program, which may be a stranger's; a file of one's own is compared with it when it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mpsearch.core.choice import Choice
from mpsearch.core.errors import ArtifactError
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.methods import METHODS
from mpsearch.network.baked import Parts, bake
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.targets import TARGETS, Blueprint


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module, ResolvedSpace, Parts, torch.Tensor]:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval(), torch.randn(9, 6)
    space = Space(name="s", weights=(4,), activations=(8,)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), METHODS["lsq"]())
    network.begin(space.uniform(Choice(4, 8)))
    parts = bake(network)
    path = tmp_path_factory.mktemp("pt2") / "model.pt2"
    TARGETS["pt2"]().writer(Blueprint.of(model, x, space)).write(path, parts)
    return path, model, space, parts, x


def test_no_program_is_loaded_to_read_install_or_evaluate(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path, model, *_, x = written

    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("a program was loaded")

    monkeypatch.setattr(torch.export, "load", loaded)
    artifact = TARGETS["pt2"]().read(path)
    assert artifact.executed() is None
    assert artifact.install(model)(x).shape == (9, 3)


def test_a_written_program_is_compared_with_the_scored_network(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path, model, space, parts, x = written
    target = TARGETS["pt2"]()
    assert target.verify(path, parts, model, space.layers, x, path.stat().st_size) == 0
    monkeypatch.setattr("mpsearch.targets.pt2.artifact.Pt2Artifact.program", lambda self: nn.Linear(6, 3))
    with pytest.raises(ArtifactError, match="gives other outputs in torch than the network that was scored"):
        target.verify(path, parts, model, space.layers, x, path.stat().st_size)
