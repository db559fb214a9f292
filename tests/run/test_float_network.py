"""A float network is trained once for the same data, model, recipe and seed, and read from the cache from then on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mpsearch.run.float_network import float_network
from mpsearch.training.recipe import Recipe
from tests.run.tiny import Phases, tiny_setup, tiny_study

FACTORY = "tests.run.tiny:digits_net"


def test_trained_once_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPSEARCH_CACHE", str(tmp_path))
    splits, phases = tiny_setup(tiny_study()).splits, Phases()

    def made(seed: int, structure: str = "a") -> nn.Module:
        recipe = Recipe(epochs=1, batch_size=256, lr=0.01, precision="float32")
        return float_network(
            FACTORY, {"width": 8}, splits, recipe, structure=structure, seed=seed, device=torch.device("cpu"), progress=phases
        )

    first, again = made(0), made(0)
    assert phases.titles == ["float network"]
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    other = made(1)
    assert phases.titles == ["float network"] * 2
    assert not torch.equal(next(first.parameters()), next(other.parameters()))
    made(0, "another structure under the same name")
    assert phases.titles == ["float network"] * 3
    files = sorted(tmp_path.rglob("*.*"))
    assert len(files) == 3
    assert all(file.name.startswith("tests.run.tiny.digits_net-") and file.suffix == ".safetensors" for file in files)
