"""Whole files: every kind of network, tied or not, every format in one; as mpsearch reads them, as `gguf` does, and as llama.cpp does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from torch import Tensor

from mpsearch.core.errors import ArtifactError, ConfigError
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import CodedWeight, install
from mpsearch.network.inputs import call
from mpsearch.numbers.stored import StoredNumbers
from mpsearch.targets import Blueprint
from mpsearch.targets.gguf import Gguf
from mpsearch.targets.gguf.architecture import architecture_of
from mpsearch.tasks.outputs import prediction_of, same_values
from tests.language_models import KINDS, causal
from tests.targets.gguf.files import TOKENS, quantized, written


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "apart"])
def test_gguf_reads_the_values_that_were_scored(kind: str, tied: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    model, layers, parts, size = written(causal(kind, tied=tied), path)
    installed, architecture = install(model, layers, parts), architecture_of(model)
    assert same_values(call(Gguf().read(path).install(model), TOKENS), call(installed, TOKENS))
    Gguf().verify(path, parts, model, layers, TOKENS, size)
    theirs = {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in gguf.GGUFReader(path).tensors}
    ours = {name: tensor for name, tensor in installed.state_dict().items() if not (tied and name == "lm_head.weight")}
    assert theirs.keys() == {architecture.name(name) for name in ours}
    for name, tensor in ours.items():
        assert np.array_equal(theirs[architecture.name(name)], tensor.numpy()[architecture.order(name, len(tensor))]), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "apart"])
def test_llama_cpp_predicts_the_same(kind: str, tied: bool, tmp_path: Path) -> None:
    """It rounds inputs to 8 bits; a wrong order of rows or a size not told moves answers by their whole range."""
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    path = tmp_path / "model.gguf"
    model, layers, parts, _ = written(causal(kind, tied=tied), path)
    running = Gguf().read(path).executed()
    assert running is not None
    scored: Tensor = prediction_of(call(install(model, layers, parts), TOKENS))
    found = prediction_of(call(running, TOKENS))
    assert float((found - scored).abs().max() / scored.abs().max()) < 0.05
    assert float((found - scored).square().mean() / scored.square().mean()) < 1e-3


def test_steps_that_half_precision_cannot_hold_are_refused(tmp_path: Path) -> None:
    model, space, parts = quantized(causal("llama", tied=True))
    name = next(name for name, baked in parts.layers.items() if baked.weight_format == NumberFormat.parse("4g32"))
    weight = parts.layers[name].weight
    assert isinstance(weight, CodedWeight)
    small = replace(weight, scales=StoredNumbers.of(weight.scales.numbers() * 1e-6))
    layers = {**parts.layers, name: replace(parts.layers[name], weight=small)}
    with pytest.raises(ArtifactError, match=rf"layer '{name}' does not fit into blocks of ggml \(steps are no numbers of half precision\)"):
        Gguf().writer(Blueprint.of(model, TOKENS, space)).write(tmp_path / "model.gguf", replace(parts, layers=layers))
    assert not list(tmp_path.iterdir())


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    model, space, _ = quantized(causal("llama", tied=True))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"target 'gguf' needs gguf; pip install 'mpsearch\[gguf\]'"):
        Gguf().writer(Blueprint.of(model, TOKENS, space))
