"""A whole search for llama.cpp, and what the target refuses of a layer."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import mpsearch
from mpsearch.core.errors import ModelError, SpaceError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.targets.gguf import Gguf
from mpsearch.tasks.task import Task
from tests.language_models import WORDS, causal


def dataset(count: int, seed: int) -> TensorDataset:
    tokens = torch.randint(WORDS, (count, 17), generator=torch.Generator().manual_seed(seed))
    return TensorDataset(tokens[:, :-1], tokens[:, 1:])


def searched(model: nn.Module, run_dir: Path, train: TensorDataset, validation: TensorDataset, **given: Any) -> mpsearch.Result:
    return mpsearch.search(model, train, validation, target="gguf", run_dir=run_dir, device="cpu", progress=False, **given)


def test_a_search_hands_over_a_file_of_mixed_blocks_within_the_budget(tmp_path: Path) -> None:
    quick: dict[str, Any] = {"images": 8, "effort": "quick", "evaluate": "ptq", "trials": 2, "epochs": 0}
    signals: dict[str, Any] = {"methods": ("gptq",), "signals": ("fisher",)}
    asked: dict[str, Any] = {"task": Task.language_model(), "budget": "3.5bit", "space": "ggml", **signals, **quick}
    result = searched(causal("llama", tied=True), tmp_path, dataset(16, 1), dataset(16, 2), **asked)
    summary = result.summary
    assert summary.artifact == "model.gguf"
    assert (tmp_path / "model.gguf").stat().st_size == summary.winner.costs["size"]
    used = {str(choice.weight) for choice in summary.winner.allocation.values()}
    assert used <= {"h2k", "3k", "4kz", "4g32", "5kz", "5g32", "6k", "8g32"}
    assert len(used) > 1
    ran = importlib.util.find_spec("llama_cpp") is not None
    assert any(
        "model.gguf is not exact" in each if ran else "model.gguf was not run: its runtime is not installed" in each
        for each in summary.skipped
    )
    types = mpsearch.export(tmp_path, tmp_path / "types.txt", causal("llama", tied=True), dataset(4, 1)[:][0], target="tensor-types")
    assert len(types.read_text().splitlines()) == len(summary.winner.allocation)


def test_spaces_of_other_formats_and_other_networks_are_refused_before_anything_runs(tmp_path: Path) -> None:
    run, model, words = tmp_path / "run", causal("llama", tied=True), dataset(8, 1)
    images = TensorDataset(torch.randn(8, 32), torch.arange(8) % 4)
    with pytest.raises(SpaceError, match=r"target 'gguf' can hold none of its menu \(no block of ggml holds weights of the format 'h1'"):
        searched(model, run, words, words, task=Task.language_model(), budget="3bit", space="weights-only")
    with pytest.raises(ModelError, match=r"target 'gguf' holds causal language models of transformers"):
        searched(nn.Sequential(nn.Linear(32, 4)), run, images, images, budget="5bit", space="ggml-32")
    assert not run.exists()


def layer(shape: tuple[int, ...]) -> Layer:
    return Layer(
        name="l",
        module="l",
        parameter="weight",
        kind="Linear",
        weight_shape=shape,
        channels=shape[0],
        macs=1,
        input_elements=1,
        output_elements=1,
        act_quantizable=True,
        signed_input=True,
        bias_elements=0,
    )


@pytest.mark.parametrize(
    ("shape", "weight", "activation", "said"),
    [
        ((4, 64), "4g32", "f", ""),
        ((4, 48), "f", "f", ""),
        ((4, 96), "3k", "f", "96 inputs are no multiple of the 256 of a block"),
        ((4, 48), "4g32", "f", "48 inputs are no multiple of the 32 of a block"),
        (
            (4, 64),
            "4g64",
            "f",
            "no block of ggml holds weights of the format '4g64'; those of h2k, 3k, 4kz, 4g32, 5kz, 5g32, 6k, 8g32, f are held",
        ),
        ((4, 64, 3, 3), "8g32", "f", "a weight of 4 axes is no matrix"),
        ((4, 64), "8g32", "8", "llama.cpp rounds inputs by itself; leave activations float"),
    ],
)
def test_what_a_file_holds_of_a_layer(shape: tuple[int, ...], weight: str, activation: str, said: str) -> None:
    assert Gguf().refuses(layer(shape), NumberFormat.parse(weight), FLOAT if activation == "f" else NumberFormat.parse(activation)) == said
