"""Random architectures, searched after calibration alone: the file loads into another instance, computes the same, has the size said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

import mpsearch
from mpsearch.core.layer import Layer
from mpsearch.core.unquantized import bytes_of
from mpsearch.testing.architectures import BLOCKS, random_network

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

QUICK = (3, 8, 10, 23, 24, 28, 30, 57)
BITS = 3


def searched_and_loaded(seed: int, run: Path, method: str) -> None:
    network = random_network(seed)
    model, x = network.build(), network.inputs(48)
    with torch.no_grad():
        data = TensorDataset(x, model(x).argmax(1))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = mpsearch.search(
        model,
        TensorDataset(*data[:32]),
        TensorDataset(*data[32:]),
        budget=f"{BITS}bit",
        methods=[method],
        signals=["fisher"],
        images=16,
        effort="quick",
        evaluate="ptq",
        trials=2,
        epochs=0,
        device="cpu",
        run_dir=run,
        progress=False,
    )
    loaded = mpsearch.load(result.path, model=network.build(seed=1))
    with torch.no_grad():
        assert torch.equal(loaded(x), result.model(x))
    summary = result.summary
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items()), "the user's model is not changed"
    assert result.path.stat().st_size == summary.winner.costs["size"]
    weights = sum(layer.weights for layer in summary.layers)
    assert result.allocation.mean_weight_bits(summary.layers) <= BITS
    most = BITS * weights / 8 + sum(3 * layer.channels + 3 for layer in summary.layers)  # scales, and what fills the last byte
    assert most > result.path.stat().st_size - bytes_of(summary.unquantized) - header_of(result.path)
    covered = weights + sum(group.parameters for group in summary.unquantized)
    assert covered == parameters_after_folding(model, summary.layers), "everything is quantized or listed"


def parameters_after_folding(model: torch.nn.Module, layers: tuple[Layer, ...]) -> int:
    """Of a folded norm and its layer's bias, one bias a channel is left."""
    gone = {f"{layer.norm}." for layer in layers if layer.norm} | {f"{layer.module}.bias" for layer in layers if layer.norm}
    kept = sum(tensor.numel() for name, tensor in model.named_parameters() if not name.startswith(tuple(gone)))
    return kept + sum(layer.channels for layer in layers if layer.norm)


def header_of(path: Path) -> int:
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


@pytest.mark.parametrize("seed", QUICK)
def test_some_architectures(seed: int, tmp_path: Path) -> None:
    searched_and_loaded(seed, tmp_path / "run", "gptq" if seed % 4 == 0 else "lsq")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [seed for seed in range(208) if seed not in QUICK])
def test_architectures(seed: int, tmp_path: Path) -> None:
    searched_and_loaded(seed, tmp_path / "run", ("lsq", "gptq", "brecq")[seed % 16 % 3])


def test_every_block_occurs() -> None:
    assert {block for seed in range(len(BLOCKS)) for block in random_network(seed).blocks} == set(BLOCKS)
    assert random_network(5) == random_network(5)
