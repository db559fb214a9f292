"""Types by tensor: llama.cpp's own quantizer gives every tensor the type that the file names."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import gguf
import pytest
import torch
from torch import nn

from mpsearch.core.errors import ModelError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.core.space import Space
from mpsearch.handovers import HANDOVERS
from mpsearch.methods.lsq import Lsq
from mpsearch.network.baked import bake
from mpsearch.network.calibrate import Calibration
from mpsearch.network.canonical import canonical
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.targets import Blueprint
from mpsearch.targets.gguf import Gguf
from tests.language_models import KINDS, causal
from tests.targets.gguf.files import TOKENS, quantized


def lines_of(model: nn.Module, out: Path) -> tuple[list[tuple[str, str]], dict[str, NumberFormat]]:
    """Pattern and type of each line, read as llama-quantize does; format by layer."""
    model, space, parts = quantized(model)
    ((path, content),) = HANDOVERS["tensor-types"]().contents(out, Blueprint.of(model, TOKENS, space), parts).items()
    assert path == out
    found = [(name.lower(), type) for name, _, type in (each.partition("=") for each in content.decode().split())]
    return found, {name: baked.weight_format for name, baked in parts.layers.items()}


def in_float(model: nn.Module, path: Path) -> Path:
    """The network as GGUF in float32, which llama.cpp quantizes."""
    model = canonical(model)
    space = Space(name="float", weights=(FLOAT,), activations=(FLOAT,)).resolve(trace(model, TOKENS))
    network = Network(model, space, Calibration.fit(model, space, [TOKENS]), Lsq())
    network.begin(space.uniform(space.menus[0][0]))
    Gguf().writer(Blueprint.of(model, TOKENS, space, stores=[Lsq().stores])).write(path, bake(network))
    return path


def type_for(name: str, lines: list[tuple[str, str]]) -> str | None:
    """llama.cpp takes the first pattern that it finds in the name."""
    return next((type for pattern, type in lines if re.search(pattern, name)), None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "apart"])
def test_every_matrix_has_one_line_with_a_type_that_ggml_knows(kind: str, tied: bool, tmp_path: Path) -> None:
    lines, formats = lines_of(causal(kind, tied=tied), tmp_path / "types.txt")
    tensors = gguf.GGUFReader(in_float(causal(kind, tied=tied), tmp_path / "float.gguf")).tensors
    matrices = [tensor.name for tensor in tensors if len(tensor.shape) > 1]
    assert {type.upper() for _, type in lines} <= set(gguf.GGMLQuantizationType.__members__)
    assert [sum(bool(re.search(pattern, name)) for pattern, _ in lines) for name in matrices] == [1] * len(lines)
    assert len(formats) == len(lines)
    assert type_for("blk.1.ffn_norm.weight", lines) is None


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "apart"])
def test_llama_cpp_quantizes_so(tied: bool, tmp_path: Path) -> None:
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    lines, formats = lines_of(causal("llama", tied=tied), tmp_path / "types.txt")
    source, out = in_float(causal("llama", tied=tied), tmp_path / "float.gguf"), tmp_path / "quantized.gguf"

    class Override(ctypes.Structure):
        _fields_ = (("pattern", ctypes.c_char_p), ("type", ctypes.c_int))

    numbers = [Override(pattern.encode(), int(gguf.GGMLQuantizationType[type.upper()])) for pattern, type in lines]
    overrides = (Override * (len(lines) + 1))(*numbers, Override(None, 0))
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, 1
    params.tt_overrides = ctypes.cast(overrides, type(params.tt_overrides))
    assert llama_cpp.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(params)) == 0
    found = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(out).tensors}
    assert {name: type for name, type in found.items() if type_for(name, lines)} == {
        name: str(type_for(name, lines)).upper() for name in found if type_for(name, lines)
    }
    assert set(found.values()) >= {"Q2_K", "Q3_K", "Q4_0", "Q4_K", "Q5_0", "Q5_K", "Q6_K", "Q8_0", "F32"}
    assert len(formats) == len(lines)


def layer(inputs: int) -> Layer:
    return Layer(
        name="l",
        module="l",
        parameter="weight",
        kind="Linear",
        weight_shape=(4, inputs),
        channels=4,
        macs=1,
        input_elements=1,
        output_elements=1,
        act_quantizable=True,
        signed_input=True,
        bias_elements=0,
    )


@pytest.mark.parametrize(
    ("inputs", "weight", "activation", "said"),
    [
        (64, "4g64", "f", ""),
        (64, "5g32z", "f", ""),
        (256, "2g32", "f", ""),
        (48, "f", "f", ""),
        (64, "2g32", "f", "llama.cpp has no type of the format '2g32' for rows of 64 weights"),
        (48, "4", "f", "llama.cpp has no type of the format '4' for rows of 48 weights"),
        (256, "7g64", "f", "llama.cpp has no type of the format '7g64' for rows of 256 weights"),
        (256, "p4", "f", "llama.cpp has no type of the format 'p4' for rows of 256 weights"),
        (64, "4", "8", "llama.cpp rounds inputs by itself; leave activations float"),
    ],
)
def test_what_llama_cpp_has_a_type_for(inputs: int, weight: str, activation: str, said: str) -> None:
    given = FLOAT if activation == "f" else NumberFormat.parse(activation)
    assert HANDOVERS["tensor-types"]().refuses(layer(inputs), NumberFormat.parse(weight), given) == said


@pytest.mark.parametrize(("weight", "type"), [("4g64", "q4_k"), ("3g32z", "q3_k"), ("8", "q8_0"), ("6g128", "q6_k")])
def test_other_formats_are_the_type_of_as_many_bits(weight: str, type: str, tmp_path: Path) -> None:
    model = canonical(causal("qwen2", tied=True))
    space = Space(name="one", weights=(NumberFormat.parse(weight),), activations=(FLOAT,)).resolve(trace(model, TOKENS))
    network = Network(model, space, Calibration.fit(model, space, [TOKENS]), Lsq())
    network.begin(space.uniform(space.menus[0][0]))
    content = HANDOVERS["tensor-types"]().contents(tmp_path / "types.txt", Blueprint.of(model, TOKENS, space), bake(network))
    lines = content[tmp_path / "types.txt"].decode().splitlines()
    assert rf"^blk\.0\.attn_q\.weight$={type}" in lines
    assert all(line.endswith(f"={type}") for line in lines)


def test_other_networks_are_refused_by_name(tmp_path: Path) -> None:
    model, x = nn.Sequential(nn.Linear(32, 4)).eval(), torch.randn(4, 32)
    space = Space(name="one", weights=(NumberFormat.parse("4g32"),), activations=(FLOAT,)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), Lsq())
    network.begin(space.uniform(space.menus[0][0]))
    with pytest.raises(ModelError, match=r"causal language models of transformers"):
        HANDOVERS["tensor-types"]().contents(tmp_path / "types.txt", Blueprint.of(model, x, space), bake(network))
