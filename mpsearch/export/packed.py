"""The artifact: one safetensors file of packed integers, read and written; layout in `mpsearch.quant.container`. No pickle, no code."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import FLOAT_BITS, Choice
from mpsearch.core.errors import ArtifactError
from mpsearch.core.layer import Layer
from mpsearch.network.baked import BakedLayer, Parts, install, rest_of_state
from mpsearch.quant import container
from mpsearch.quant.channels import Rows
from mpsearch.quant.packing import pack, unpack

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


_TORCH_DTYPES = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_OFFSETS = {0.0: 0, 0.5: 1}


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file read back: what to build, and the numbers still in bytes.

    Args:
        model: registered name or `package.module:factory`; empty for a module that was handed in.
        options: keyword arguments of the factory.
        wiring: of each layer: module, parameter, folded norm, aliases.
        tensors: raw bytes by tensor name.
        bits: three characters a layer.
        half: one character a layer.
        shapes: (safetensors dtype, shape) by tensor name.
    """

    model: str
    options: Mapping[str, Any]
    wiring: Sequence[Sequence[str]]
    tensors: Mapping[str, bytes]
    bits: str
    half: str
    shapes: Mapping[str, tuple[str, tuple[int, ...]]]

    @property
    def allocation(self) -> Allocation:
        """The bits of every layer."""
        choices = (Choice(_bits(self.bits[i]), _bits(self.bits[i + 1])) for i in range(0, len(self.bits), 3))
        return Allocation({_layer_name(*wire[:2]): choice for wire, choice in zip(self.wiring, choices, strict=True)})

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
        return _unpack(self, model)

    def install(self, model: nn.Module) -> nn.Module:
        """A copy of the architecture with the numbers in place, ready to run.

        Raises:
            ArtifactError: the file's contents do not fit the model.
        """
        return install(model, self.layers(model), self.parts(model))


def file_overhead(blueprint: Blueprint, model: nn.Module) -> int:
    """Bytes of the artifact that no allocation changes."""
    floats, extra = _rest_sizes(blueprint.layers, model.state_dict(), rest_of_state(model, blueprint.layers))
    return container.overhead_bytes(blueprint.to_dict(), len(blueprint.layers), floats, extra)


def write_artifact(path: Path, blueprint: Blueprint, parts: Parts) -> int:
    """Write the file atomically.

    Returns:
        Its size in bytes; equal to the size cost of the allocation.
    """
    tensors: dict[str, bytearray] = {name: bytearray() for name in container.TENSORS}
    exponents: list[int] = []
    half = ""
    for layer in blueprint.layers:
        baked = parts.layers[layer.name]
        if baked.codes is None:
            assert baked.weight is not None
            tensors["codes"] += baked.weight.numpy().astype("<f4").tobytes()
        else:
            assert baked.scales is not None
            tensors["codes"] += pack(baked.codes.numpy(), baked.choice.weight_bits).tobytes()
            tensors["scales"] += baked.scales.numpy().astype("<f2").tobytes()
        if baked.bias is not None:
            tensors["biases"] += baked.bias.numpy().astype("<f2" if layer.norm else "<f4").tobytes()
        if baked.act_step is not None:
            tensors["act_steps"] += baked.act_step.numpy().astype("<f4").tobytes()
        exponents += [baked.scale_exponent, baked.bias_exponent]
        half += str(_OFFSETS[baked.offset])
    tensors["exponents"] += np.array(exponents, dtype=np.int8).tobytes()
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, tensor in parts.rest.items():
        if tensor.dtype == torch.float32:
            tensors["floats"] += tensor.contiguous().numpy().astype("<f4").tobytes()
        else:
            stored = tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
            tensors[f"rest.{name}"] = bytearray(stored.contiguous().numpy().tobytes())
            shapes[f"rest.{name}"] = (_TORCH_DTYPES.get(stored.dtype, "F32"), tuple(stored.shape))
    for name, dtype in container.TENSORS.items():
        shapes[name] = (dtype, (len(tensors[name]) // _WIDTH[dtype],))
    bits = "".join(container.spell_bits(parts.layers[layer.name].choice, parts.layers[layer.name].signed) for layer in blueprint.layers)
    metadata = {"format": "mpsearch-1", "model": container.compress(blueprint.to_dict()), "bits": bits, "half": half}
    metadata["digest"] = container.digest(metadata, tensors)
    _, extra = _rest_sizes(blueprint.layers, parts.rest, list(parts.rest))
    header = container.header_bytes(blueprint.to_dict(), len(blueprint.layers), extra)
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
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for data in tensors.values():
            file.write(data)
    temporary.replace(path)
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
    if metadata.get("format") != "mpsearch-1":
        raise ArtifactError(
            f"{path} is no mpsearch artifact (its metadata lack format=mpsearch-1); give a file that 'mpsearch export' wrote"
        )
    tensors = {name: bytes(entry["data"]) for name, entry in entries.items()}
    if metadata.get("digest") != container.digest(metadata, tensors):
        raise ArtifactError(f"{path} was changed after it was written (its digest does not match its content); export it again")
    try:
        plain = container.decompress(metadata["model"])
        model, options, wiring = plain["model"], plain["options"], plain["layers"]
        bits, half = metadata["bits"], metadata["half"]
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path} describes no model that can be read ({error}); export it again") from error
    shapes = {name: (str(entry["dtype"]), tuple(entry["shape"])) for name, entry in entries.items()}
    return Artifact(model=model, options=options, wiring=wiring, tensors=tensors, bits=bits, half=half, shapes=shapes)


def _layer_name(module: str, parameter: str) -> str:
    return module if parameter == "weight" and module else f"{module}.{parameter}".lstrip(".")


def _find_layer(model: nn.Module, wire: Sequence[str]) -> Layer:
    path, parameter, norm, *aliases = wire
    try:
        module = model.get_submodule(path)
        weight = getattr(module, parameter)
    except AttributeError as error:
        raise ArtifactError(f"the artifact's layer '{path}' is not in this model; give the model it was made from") from error
    channels = Rows.of(module, weight).channels
    has_bias = bool(norm) or (parameter == "weight" and isinstance(getattr(module, "bias", None), Tensor))
    return Layer(
        name=_layer_name(path, parameter),
        module=path,
        parameter=parameter,
        kind=type(module).__name__,
        weight_shape=tuple(weight.shape),
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


class _Reader:
    """Takes a file's tensors apart from front to back."""

    def __init__(self, tensors: Mapping[str, bytes]) -> None:
        self._tensors, self._position = tensors, dict.fromkeys(tensors, 0)

    def take(self, name: str, count: int, dtype: str) -> np.ndarray[Any, Any]:
        size = count * np.dtype(dtype).itemsize
        start = self._position.get(name, 0)
        data = self._tensors.get(name, b"")[start : start + size]
        if len(data) != size:
            raise ArtifactError(f"the artifact's '{name}' holds too few values for this model; give the model it was made from")
        self._position[name] = start + size
        return np.frombuffer(data, dtype=dtype)

    def finish(self) -> None:
        for name in container.TENSORS:
            if self._position.get(name, 0) != len(self._tensors.get(name, b"")):
                raise ArtifactError(f"the artifact's '{name}' holds more values than this model; give the model it was made from")


def _unpack(artifact: Artifact, model: nn.Module) -> Parts:
    reader = _Reader(artifact.tensors)
    layers: dict[str, BakedLayer] = {}
    found = artifact.layers(model)
    exponents = reader.take("exponents", 2 * len(found), "<i1").reshape(-1, 2).tolist()
    for index, layer in enumerate(found):
        spelled = artifact.bits[3 * index : 3 * index + 3]
        choice = Choice(_bits(spelled[0]), _bits(spelled[1]))
        offset = 0.5 if artifact.half[index] == "1" else 0.0
        codes = weight = scales = bias = act_step = None
        if choice.weight_bits == FLOAT_BITS:
            weight = torch.from_numpy(reader.take("codes", layer.weights, "<f4").reshape(layer.weight_shape).copy())
        else:
            packed = reader.take("codes", container.weight_bytes(layer, choice), "|u1")
            codes = torch.from_numpy(unpack(packed, choice.weight_bits, layer.weights).reshape(layer.channels, -1))
            scales = torch.from_numpy(reader.take("scales", layer.channels, "<f2").copy())
        if layer.bias_elements:
            bias = torch.from_numpy(reader.take("biases", layer.bias_elements, "<f2" if layer.norm else "<f4").copy())
        if choice.act_bits != FLOAT_BITS:
            act_step = torch.from_numpy(reader.take("act_steps", 1, "<f4").copy()).squeeze(0)
        layers[layer.name] = BakedLayer(
            choice=choice,
            signed=spelled[2] == "s",
            offset=offset,
            codes=codes,
            weight=weight,
            scales=scales,
            scale_exponent=exponents[index][0],
            bias=bias,
            bias_exponent=exponents[index][1],
            act_step=act_step,
        )
    return Parts(layers=layers, rest=_unpack_rest(artifact, reader, model, found))


def _unpack_rest(artifact: Artifact, reader: _Reader, model: nn.Module, layers: Sequence[Layer]) -> dict[str, Tensor]:
    state = model.state_dict()
    rest: dict[str, Tensor] = {}
    for name in rest_of_state(model, layers):
        like = state[name]
        if like.dtype == torch.float32:
            values = torch.from_numpy(reader.take("floats", like.numel(), "<f4").copy())
        else:
            dtype = {text: key for key, text in _TORCH_DTYPES.items()}.get(
                artifact.shapes.get(f"rest.{name}", ("F32", ()))[0], torch.float32
            )
            raw = artifact.tensors.get(f"rest.{name}", b"")
            values = torch.frombuffer(bytearray(raw), dtype=dtype) if raw else torch.empty(0, dtype=dtype)
        if values.numel() != like.numel():
            raise ArtifactError(f"the artifact's '{name}' does not fit this model; give the model it was made from")
        rest[name] = values.reshape(like.shape)
    reader.finish()
    return rest


def _bits(character: str) -> int:
    return FLOAT_BITS if character == "-" else int(character)


def _rest_sizes(
    layers: Sequence[Layer], state: Mapping[str, Tensor], names: Sequence[str]
) -> tuple[int, dict[str, tuple[str, tuple[int, ...], int]]]:
    floats = sum(state[name].numel() for name in names if state[name].dtype == torch.float32)
    extra: dict[str, tuple[str, tuple[int, ...], int]] = {}
    for name in names:
        tensor = state[name]
        if tensor.dtype != torch.float32:
            dtype = _TORCH_DTYPES.get(tensor.dtype, "F32")
            extra[f"rest.{name}"] = (dtype, tuple(tensor.shape), tensor.numel() * _WIDTH[dtype])
    return floats, extra
