"""The packed artifact: one safetensors file, read and written; its layout is in `layout`. It holds no pickle and no code."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import ArtifactError
from mpsearch.core.files import replacing
from mpsearch.core.layer import Layer
from mpsearch.network.baked import Parts, install, rest_of_state
from mpsearch.network.canonical import canonical
from mpsearch.numbers.act_formats import ACT_FORMATS
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.formats import FORMATS
from mpsearch.targets.packed import layout
from mpsearch.targets.packed.unpack import STORED_DTYPES, choice_of, stored_as, unpack

__all__ = ["Artifact", "Blueprint", "file_overhead", "read_artifact", "write_artifact"]


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """What must be built before the numbers are put in.

    Args:
        model: registered name or `package.module:factory`; empty for a module that was handed in.
        options: keyword arguments of the factory.
        layers: as traced.
    """

    model: str
    options: Mapping[str, Any]
    layers: tuple[Layer, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the metadata: of each layer only what cannot be read off the built model."""
        return {
            "model": self.model,
            "options": dict(self.options),
            "layers": [[layer.module, layer.parameter, layer.norm, *layer.aliases] for layer in self.layers],
        }


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file read back: what to build, and the numbers still in bytes.

    Args:
        model: registered name or `package.module:factory`; empty for a module that was handed in.
        options: keyword arguments of the factory.
        wiring: of each layer: module, parameter, folded norm, aliases.
        tensors: raw bytes by tensor name.
        bits: three characters a layer.
        formats: one letter a layer.
        shapes: (safetensors dtype, shape) by tensor name.
    """

    model: str
    options: Mapping[str, Any]
    wiring: Sequence[Sequence[str]]
    tensors: Mapping[str, bytes]
    bits: str
    formats: str
    shapes: Mapping[str, tuple[str, tuple[int, ...]]]

    @property
    def allocation(self) -> Allocation:
        """The bits of every layer."""
        return Allocation({_layer_name(*wire[:2]): choice_of(self.bits, index) for index, wire in enumerate(self.wiring)})

    def layers(self, model: nn.Module) -> tuple[Layer, ...]:
        """The layers as they sit in the built float architecture; what only a forward pass tells (MACs, activation sizes) is 0.

        Raises:
            ArtifactError: a layer is not in this model.
        """
        return tuple(_find_layer(model, wire) for wire in self.wiring)

    def parts(self, model: nn.Module) -> Parts:
        """The numbers for the built float architecture.

        Raises:
            ArtifactError: the file's contents do not fit the model.
        """
        return unpack(self, self.layers(model), model)

    def install(self, model: nn.Module) -> nn.Module:
        """A copy of the architecture with the numbers in place, ready to run.

        Raises:
            ArtifactError: the file's contents do not fit the model.
            ModelError: an architecture that cannot be copied.
        """
        model = canonical(model)
        return install(model, self.layers(model), self.parts(model))


def file_overhead(blueprint: Blueprint, model: nn.Module) -> int:
    """Bytes of the artifact that no allocation changes."""
    floats, extra = _rest_sizes(blueprint.layers, model.state_dict(), rest_of_state(model, blueprint.layers))
    return layout.overhead_bytes(blueprint.to_dict(), len(blueprint.layers), floats, extra)


def write_artifact(path: Path, blueprint: Blueprint, parts: Parts) -> int:
    """Write the file atomically.

    Returns:
        Its size in bytes; equal to the size cost of the allocation.
    """
    tensors: dict[str, bytearray] = {name: bytearray() for name in layout.TENSORS}
    exponents: list[int] = []
    formats = ""
    for layer in blueprint.layers:
        baked = parts.layers[layer.name]
        if baked.format is None:
            assert baked.weight is not None
            tensors["codes"] += baked.weight.numpy().astype("<f4").tobytes()
        else:
            assert baked.codes is not None
            assert baked.scales is not None
            packed, scales = baked.format.pack(baked.codes.numpy(), baked.scales.numpy(), baked.choice.weight_bits)
            tensors["codes"] += packed.tobytes()
            tensors["scales"] += scales.astype("<f2").tobytes()
        if baked.bias is not None:
            tensors["biases"] += baked.bias.numpy().astype("<f2" if layer.norm else "<f4").tobytes()
        if baked.act_step is not None:
            tensors["act_steps"] += baked.act_step.numpy().astype("<f4").tobytes()
        exponents += [baked.scale_exponent, baked.bias_exponent]
        formats += layout.spell_format(baked.format)
    tensors["exponents"] += np.array(exponents, dtype=np.int8).tobytes()
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, tensor in parts.rest.items():
        if tensor.dtype == torch.float32:
            tensors["floats"] += tensor.contiguous().numpy().astype("<f4").tobytes()
        else:
            stored = stored_as(name, tensor)
            tensors[f"rest.{name}"] = bytearray(stored.contiguous().numpy().tobytes())
            shapes[f"rest.{name}"] = (STORED_DTYPES[stored.dtype], tuple(stored.shape))
    for name, dtype in layout.TENSORS.items():
        shapes[name] = (dtype, (len(tensors[name]) // _WIDTH[dtype],))
    bits = "".join(layout.spell_bits(parts.layers[layer.name].choice, parts.layers[layer.name].act_format) for layer in blueprint.layers)
    metadata = {"format": layout.VERSION, "model": layout.compress(blueprint.to_dict()), "bits": bits, "formats": formats}
    metadata["digest"] = layout.file_digest(metadata, tensors)
    _, extra = _rest_sizes(blueprint.layers, parts.rest, list(parts.rest))
    header = layout.header_bytes(blueprint.to_dict(), len(blueprint.layers), extra)
    return _write(path, metadata, tensors, shapes, header)


_WIDTH = {"U8": 1, "I8": 1, "BOOL": 1, "F16": 2, "I16": 2, "F32": 4, "I32": 4, "F64": 8, "I64": 8}


def _write(
    path: Path, metadata: dict[str, str], tensors: Mapping[str, bytearray], shapes: Mapping[str, tuple[str, tuple[int, ...]]], header: int
) -> int:
    entries: dict[str, Any] = {"__metadata__": {**metadata, "pad": ""}}
    position = 0
    for name, data in tensors.items():
        entries[name] = {"dtype": shapes[name][0], "shape": list(shapes[name][1]), "data_offsets": [position, position + len(data)]}
        position += len(data)
    missing = header - 8 - len(_json(entries))
    entries["__metadata__"]["pad"] = " " * missing
    text = _json(entries)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for data in tensors.values():
            file.write(data)
    return path.stat().st_size


def _json(entries: Mapping[str, Any]) -> bytes:
    return json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()


def read_artifact(path: Path) -> Artifact:
    """Read and check a file.

    Raises:
        ArtifactError: missing, truncated, tampered with, or not an mpsearch artifact.
    """
    from safetensors import SafetensorError, deserialize, safe_open

    if not path.is_file():
        raise ArtifactError(f"no artifact at {path}; give the path of a model.safetensors that 'mpsearch study' wrote")
    try:
        with safe_open(str(path), framework="np") as file:
            metadata: dict[str, str] = file.metadata() or {}
        entries = dict(deserialize(path.read_bytes()))  # type: ignore[no-untyped-call]
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(f"{path} is truncated or no safetensors file ({error}); export it again") from error
    if metadata.get("format") != layout.VERSION:
        raise ArtifactError(
            f"{path} is no mpsearch artifact (its metadata lack format={layout.VERSION}); give a file that 'mpsearch export' wrote"
        )
    tensors = {name: bytes(entry["data"]) for name, entry in entries.items()}
    if metadata.get("digest") != layout.file_digest(metadata, tensors):
        raise ArtifactError(f"{path} was changed after it was written (its digest does not match its content); export it again")
    try:
        plain = layout.decompress(metadata["model"])
        model, options, wiring = str(plain["model"]), dict(plain["options"]), plain["layers"]
        bits, formats = metadata["bits"], metadata["formats"]
        _check_spelling(wiring, bits, formats)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path} describes no model that can be read ({error}); export it again") from error
    shapes = {name: (str(entry["dtype"]), tuple(entry["shape"])) for name, entry in entries.items()}
    return Artifact(model=model, options=options, wiring=wiring, tensors=tensors, bits=bits, formats=formats, shapes=shapes)


_BITS = re.compile(f"(?:[1-8-](?:[2-8][{''.join(ACT_FORMATS)}]|--))*")


def _check_spelling(wiring: Any, bits: str, formats: str) -> None:
    """Whoever forges a file can make its digest fit, so nothing in it is taken for granted."""
    if not isinstance(wiring, list) or not all(
        isinstance(wire, list) and len(wire) >= 3 and all(isinstance(word, str) for word in wire) for wire in wiring
    ):
        raise ValueError("its layers are no lists of names")
    if len(bits) != 3 * len(wiring) or len(formats) != len(wiring) or not _BITS.fullmatch(bits):
        raise ValueError(f"bits '{bits}' and formats '{formats}' are not those of {len(wiring)} layers")
    for letter, weight_bits in zip(formats, bits[::3], strict=True):
        if (letter == "-") != (weight_bits == "-") or letter not in ("-", *FORMATS):
            raise ValueError(f"format '{letter}' of a weight of '{weight_bits}' bits is unknown")


def _layer_name(module: str, parameter: str) -> str:
    return module if parameter == "weight" and module else f"{module}.{parameter}".lstrip(".")


def _find_layer(model: nn.Module, wire: Sequence[str]) -> Layer:
    path, parameter, norm, *aliases = wire
    try:
        module = model.get_submodule(path)
        weight = getattr(module, parameter)
        shape = tuple(weight.shape)
        model.get_submodule(norm)
        for alias in aliases:
            model.get_parameter(alias)
    except AttributeError as error:
        raise ArtifactError(f"the artifact's layer '{path}' is not in this model; give the model it was made from") from error
    channels = Rows.of(module, weight).channels
    has_bias = bool(norm) or (parameter == "weight" and isinstance(getattr(module, "bias", None), Tensor))
    return Layer(
        name=_layer_name(path, parameter),
        module=path,
        parameter=parameter,
        kind=type(module).__name__,
        weight_shape=shape,
        channels=channels,
        macs=0,
        input_elements=0,
        output_elements=0,
        act_quantizable=True,
        signed_input=False,
        bias_elements=channels if has_bias else 0,
        norm=norm,
        aliases=tuple(aliases),
    )


def _rest_sizes(
    layers: Sequence[Layer], state: Mapping[str, Tensor], names: Sequence[str]
) -> tuple[int, dict[str, tuple[str, tuple[int, ...], int]]]:
    floats = sum(state[name].numel() for name in names if state[name].dtype == torch.float32)
    extra: dict[str, tuple[str, tuple[int, ...], int]] = {}
    for name in names:
        tensor = state[name]
        if tensor.dtype != torch.float32:
            stored = stored_as(name, tensor)
            dtype = STORED_DTYPES[stored.dtype]
            extra[f"rest.{name}"] = (dtype, tuple(stored.shape), stored.numel() * _WIDTH[dtype])
    return floats, extra
