"""`compressed-tensors`: a folder that transformers loads: packed weights, a group of the configuration for each format, config.json beside.

The layout is that of `pack-quantized` (compressed-tensors 0.18 and later): `value = code · scale`, codes + 2^(b−1) in b bits without gaps,
the first in the lowest bits of an int32, each row from a word of its own. Scales are float16 where that loses nothing, else float32.

Only modules of the class Linear are packed, since transformers loads no others so: embeddings, and heads tied to them, hold the scored
values as float32. Zero points are refused: transformers cannot load packed ones since compressed-tensors 0.18. Before anything is
written the folder is loaded and compared with the scored network.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from mpsearch.core.errors import ModelError
from mpsearch.core.extras import needs
from mpsearch.core.files import is_file
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.handovers import HANDOVERS
from mpsearch.handovers.base import Handover
from mpsearch.network.baked import BakedLayer, CodedWeight, Parts, install
from mpsearch.network.inputs import batch_size, call, samples_of
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.packing import pack
from mpsearch.numbers.stored import StoredNumbers
from mpsearch.targets.blueprint import Blueprint
from mpsearch.tasks.outputs import most_samples_differ_by

__all__ = ["CompressedTensors"]

_PACKED = "Linear"
_ROUNDING = 1e-5
_WORD = 32
_BESIDE = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "chat_template.jinja")
"""Of the folder that the model was loaded from."""


@HANDOVERS.register("compressed-tensors")
class CompressedTensors(Handover):
    """Evenly spaced weights of linear modules are packed; whatever else a run holds is float32."""

    name: ClassVar[str] = "compressed-tensors"
    description: ClassVar[str] = "a folder with packed weights that transformers loads"

    def refuses(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> str:
        """Rounded inputs, and linear modules in formats that cannot be packed."""
        if not activation.is_float:
            return "inputs stay float there"
        if weight.is_float or not _is_packed(layer):
            return ""
        if weight.kind not in ("uniform", "ternary") or weight.in_superblocks or weight.granularity == "tensor":
            return f"packed weights are whole numbers times a scale by channel or group, and '{weight}' are not"
        return "transformers loads no packed zero points" if weight.zero_point else ""

    def contents(self, out: Path, blueprint: Blueprint, parts: Parts) -> Mapping[Path, bytes]:
        """The files of the folder `out`.

        Raises:
            ModelError: the network is none of transformers, or the folder would not compute it.
            ConfigError: transformers or compressed-tensors is not installed.
        """
        needs(f"hand-over format '{self.name}'", self.name, "transformers", "compressed_tensors")
        config: Any = getattr(blueprint.architecture, "config", None)
        if not hasattr(config, "to_dict") or not hasattr(blueprint.architecture, "save_pretrained"):
            raise ModelError(f"'{self.name}' holds networks of transformers, not {type(blueprint.architecture).__name__}")
        from safetensors.torch import save

        described = {
            **config.to_dict(),
            "architectures": [type(blueprint.architecture).__name__],
            "dtype": "float32",
            "use_cache": True,  # turned off while a network is searched (`mpsearch.network.workarounds`); people will generate text
            "quantization_config": _described(blueprint, parts),
        }
        folder = Path(str(getattr(config, "_name_or_path", "") or ""))
        beside = {name: (folder / name).read_bytes() for name in _BESIDE if folder.name and is_file(folder / name)}
        files = {
            "config.json": json.dumps(described, indent=2, sort_keys=True).encode(),
            "model.safetensors": save(dict(_tensors(blueprint, parts)), metadata={"format": "pt"}),
            **beside,
        }
        _check(files, blueprint, parts)
        return {out / name: content for name, content in files.items()}


def _is_packed(layer: Layer) -> bool:
    return layer.kind == _PACKED and layer.parameter == "weight" and not layer.aliases and not layer.norm and layer.axes is None


def _described(blueprint: Blueprint, parts: Parts) -> dict[str, Any]:
    """The key `quantization_config` of config.json."""
    layers: dict[NumberFormat, list[str]] = {}
    for layer in blueprint.layers:
        format = parts.layers[layer.name].weight_format
        if not format.is_float and _is_packed(layer):
            layers.setdefault(format, []).append(layer.module)
    packed = {module for modules in layers.values() for module in modules}
    linear = [name for name, module in blueprint.architecture.named_modules() if isinstance(module, nn.Linear)]
    groups = {f"group_{number}": _group(format, layers[format]) for number, format in enumerate(sorted(layers))}
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": groups,
        "ignore": [name for name in linear if name not in packed],
    }


def _group(format: NumberFormat, modules: list[str]) -> dict[str, Any]:
    shared = {"strategy": "channel"} if format.group is None else {"strategy": "group", "group_size": format.group}
    return {"targets": modules, "weights": {"num_bits": format.bits, "type": "int", "symmetric": True, **shared}}


def _tensors(blueprint: Blueprint, parts: Parts) -> Iterator[tuple[str, Tensor]]:
    """Tensors of the file by name."""
    for layer in blueprint.layers:
        baked, stem = parts.layers[layer.name], f"{layer.module}."
        if isinstance(baked.weight, CodedWeight) and _is_packed(layer):
            yield from ((f"{stem}weight_{name}", tensor) for name, tensor in _packed(baked.weight, layer).items())
        else:
            yield f"{stem}{layer.parameter}", _dense(blueprint, layer, baked)
        if baked.bias is not None:
            yield f"{stem}bias", baked.bias.numbers() if isinstance(baked.bias, StoredNumbers) else baked.bias
    yield from ((name, tensor.contiguous()) for name, tensor in parts.rest.items())


def _dense(blueprint: Blueprint, layer: Layer, baked: BakedLayer) -> Tensor:
    if not isinstance(baked.weight, CodedWeight):
        return baked.weight.values.contiguous()
    return Rows.of_layer(blueprint.architecture, layer, baked.weight_format.granularity).join(baked.weight.values()).contiguous()


def _packed(weight: CodedWeight, layer: Layer) -> dict[str, Tensor]:
    """The tensors of one weight by the ends of their names."""
    rows, columns = layer.weight_shape
    bits, half = weight.format.bits, 2 ** (weight.format.bits - 1)
    codes = weight.codes.numpy().reshape(rows, columns)
    filled = np.zeros((rows, math.ceil(columns / _WORD) * _WORD), dtype=np.int16)
    filled[:, :columns] = np.where(codes < 0, codes + half, codes - half)  # two's complement of these is codes + half in b bits
    words = np.ascontiguousarray(pack(filled, bits).view("<i4").reshape(rows, -1)[:, : math.ceil(columns * bits / _WORD)])
    scales = weight.scales.numbers().reshape(rows, -1)
    narrow = scales.half()
    return {
        "packed": torch.from_numpy(words.astype(np.int32)),
        "scale": (narrow if torch.equal(narrow.float(), scales) else scales).contiguous(),
        "shape": torch.tensor([rows, columns]),
    }


def _check(files: Mapping[str, bytes], blueprint: Blueprint, parts: Parts) -> None:
    """Load the folder and compare it with the scored network, on one sample."""
    one = samples_of(blueprint.inputs, slice(0, 1), batch_size(blueprint.inputs))
    with TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        loaded = _loaded(folder)
    with torch.no_grad():
        scored = install(blueprint.architecture, blueprint.layers, parts)
        differ = most_samples_differ_by(call(loaded.to(next(scored.parameters()).device), one), call(scored, one))
    if not differ <= _ROUNDING:  # also where it is NaN
        raise ModelError(
            f"'compressed-tensors': the folder, loaded by transformers, gives outputs that differ by {differ:.1g} of the largest from "
            "those of the scored network; use another format, and tell us about the network"
        )


def _loaded(folder: str) -> nn.Module:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a bar of compressed-tensors that no setting turns off
            model: nn.Module = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
            )
    except Exception as error:  # the library's errors have many classes
        raise ModelError(f"'compressed-tensors': transformers does not load the folder ({error}); use another format") from error
    finally:
        if shown:
            logging.enable_progress_bar()
    return model.eval()
