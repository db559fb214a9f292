"""A folder that transformers loads by itself: its outputs are those of the scored network, its weights are as small as said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError, ModelError
from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.handovers import HANDOVERS
from mpsearch.methods.lsq import Lsq
from mpsearch.network.baked import Parts, bake, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.canonical import canonical
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.numbers.packing import pack
from mpsearch.targets import Blueprint
from mpsearch.tasks.outputs import prediction_of
from tests.language_models import WORDS, causal

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("compressed_tensors", reason="compressed-tensors is not installed")

TOKENS = torch.randint(WORDS, (3, 16), generator=torch.Generator().manual_seed(2))
FORMATS = ("2g64", "3g32", "4", "4g128", "5g64", "6g32", "7g128", "8g32", "3", "tg32", "f")


def quantized(model: nn.Module, *formats: str) -> tuple[Blueprint, Parts, ResolvedSpace]:
    """Layers take the formats in turn."""
    model = canonical(model)
    menu = tuple(NumberFormat.parse(text) for text in formats)
    space = Space(name="one", weights=menu, activations=(FLOAT,)).resolve(trace(model, TOKENS))
    network = Network(model, space, Calibration.fit(model, space, [TOKENS]), Lsq())
    network.begin(Allocation({name: Choice(menu[row % len(menu)]) for row, name in enumerate(space.names)}))
    return Blueprint.of(model, TOKENS, space, stores=[Lsq().stores]), bake(network), space


def written(folder: Path, blueprint: Blueprint, parts: Parts) -> dict[str, bytes]:
    contents = HANDOVERS["compressed-tensors"]().contents(folder, blueprint, parts)
    folder.mkdir(exist_ok=True)
    for path, content in contents.items():
        path.write_bytes(content)
    return {path.name: content for path, content in contents.items()}


def loaded(folder: Path) -> nn.Module:
    """As anybody loads it: nothing of ours."""
    model: nn.Module = transformers.AutoModelForCausalLM.from_pretrained(str(folder)).eval()
    return model


def outputs(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return prediction_of(call(model, TOKENS))


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "apart"])
def test_transformers_computes_the_scored_network(kind: str, tied: bool, tmp_path: Path) -> None:
    blueprint, parts, space = quantized(causal(kind, tied=tied), *FORMATS)
    files = written(tmp_path / "folder", blueprint, parts)
    scored = outputs(install(blueprint.architecture, space.layers, parts))
    torch.testing.assert_close(outputs(loaded(tmp_path / "folder")), scored, rtol=1e-5, atol=1e-5)
    config = json.loads(files["config.json"])
    assert config["use_cache"]
    described: dict[str, Any] = config["quantization_config"]
    groups = [(each["weights"]["num_bits"], each["weights"].get("group_size")) for each in described["config_groups"].values()]
    assert len(groups) == len(set(groups)) >= 8
    assert (2, 32) in groups  # the three levels of a ternary weight
    named = [name for each in described["config_groups"].values() for name in each["targets"]]
    assert sorted(named + described["ignore"]) == sorted(
        name for name, module in blueprint.architecture.named_modules() if isinstance(module, nn.Linear)
    )


def test_packed_weights_take_the_bits_of_their_format(tmp_path: Path) -> None:
    from safetensors.torch import load

    blueprint, parts, space = quantized(causal("llama", tied=False), "3g32")
    tensors = load(written(tmp_path / "folder", blueprint, parts)["model.safetensors"])
    for layer in space.layers:
        if layer.kind == "Linear":
            held = [tensors[f"{layer.module}.weight_{end}"] for end in ("packed", "scale")]
            assert sum(each.nbytes for each in held) == layer.weights * (3 + 16 / 32) / 8
    embedding = tensors["model.embed_tokens.weight"]
    assert embedding.dtype == torch.float32
    assert len(embedding.unique()) < embedding.numel() / 2  # the values of three bits, not the float ones


def test_the_tokenizer_of_the_folder_comes_along(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "tokenizer.json").write_text("{}")
    model: Any = causal("llama", tied=True)
    model.config.name_or_path = str(source)
    blueprint, parts, _ = quantized(model, "4g32")
    assert written(tmp_path / "folder", blueprint, parts)["tokenizer.json"] == b"{}"


def test_a_folder_that_computes_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blueprint, parts, _ = quantized(causal("llama", tied=True), "4g32")
    monkeypatch.setattr("mpsearch.handovers.compressed_tensors.pack", lambda codes, bits: pack(codes * 0, bits))
    with pytest.raises(ModelError, match=r"gives outputs that differ by .* from those of the scored network; use another format"):
        written(tmp_path / "folder", blueprint, parts)


def test_networks_of_others_and_a_missing_package_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = nn.Sequential(nn.Linear(32, 4)).eval(), torch.randn(4, 32)
    space = Space(name="one", weights=(NumberFormat.parse("4g32"),), activations=(FLOAT,)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), Lsq())
    network.begin(space.uniform(space.menus[0][0]))
    blueprint, parts = Blueprint.of(model, x, space), bake(network)
    with pytest.raises(ModelError, match="'compressed-tensors' holds networks of transformers, not Sequential"):
        written(tmp_path / "folder", blueprint, parts)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs transformers, compressed_tensors; pip install 'mpsearch\[compressed-tensors\]'"):
        written(tmp_path / "folder", blueprint, parts)


@pytest.mark.parametrize(
    ("weight", "activation", "said"),
    [
        *((fine, "f", "") for fine in (*FORMATS, "8")),
        ("h4", "f", "packed weights are whole numbers times a scale by channel or group, and 'h4' are not"),
        ("4kz", "f", "packed weights are whole numbers times a scale by channel or group, and '4kz' are not"),
        ("4s", "f", "packed weights are whole numbers times a scale by channel or group, and '4s' are not"),
        ("4g32z", "f", "transformers loads no packed zero points"),
        ("4", "8", "inputs stay float there"),
    ],
)
def test_what_a_linear_module_can_hold(weight: str, activation: str, said: str) -> None:
    model = canonical(causal("llama", tied=True))
    layers = {layer.kind: layer for layer in trace(model, TOKENS)}
    given, asked = FLOAT if activation == "f" else NumberFormat.parse(activation), NumberFormat.parse(weight)
    assert HANDOVERS["compressed-tensors"]().refuses(layers["Linear"], asked, given) == said
    if activation == "f":
        assert HANDOVERS["compressed-tensors"]().refuses(layers["Embedding"], asked, given) == ""
