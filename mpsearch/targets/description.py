"""`Description`: which network a file holds and in which formats, as the metadata of every target's file say it.

`model` is compressed JSON: architecture, layer names, granularity and axes where no class tells them, the numbers of the wide layers.
`bits` has three characters per layer: `28u` is 2-bit weights and 8-bit unsigned activations, `-` is float. `formats` has one letter per
layer: that of the kind in `mpsearch.core.number_format`, `u` for uniform, `z` for uniform with a zero point, `-` for float. Where the
formats of a layer's menu differ in what shares a scale, `scales` has one letter per layer: `c` for an output channel, `k` for a superblock,
`m` for one with offsets, `a`, `b` and `d` for groups of 32, 64 and 128. So the length of the metadata does not depend on the allocation.

Activations of b bits and step s have the levels

| letter | levels |
|---|---|
| `u` | `0, 1 … 2^b − 1`, times s |
| `s` | `−2^(b−1) … 2^(b−1) − 1`, times s |
| `p` | 0 and the powers of two `2^−k · s`, `k < min(2^(b−1), 16)` |
| `q` | `±2^−k · s`, the same k, without a zero |
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ArtifactError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT, NUMBER_KINDS, Granularity, NumberFormat
from mpsearch.network.baked import Parts, QuantizedInput
from mpsearch.numbers.channels import Rows
from mpsearch.targets.blueprint import Blueprint

__all__ = ["Description", "compress", "decompress", "described", "input_format", "spelled", "without_formats"]

_UNIFORM, _ZERO_POINT = "u", "z"
_INPUT_LETTERS = {("uniform", False): "u", ("uniform", True): "s", ("power_of_two", False): "p", ("power_of_two", True): "q"}
_SCALE_LETTERS: Mapping[Granularity, str] = MappingProxyType(
    {"channel": "c", "tensor": "t", "superblock": "k", "offset_superblock": "m", 32: "a", 64: "b", 128: "d"}
)
_GRANULARITIES: Mapping[str, Granularity] = MappingProxyType({letter: each for each, letter in _SCALE_LETTERS.items()})
_BITS = re.compile(f"(?:[1-8-](?:[2-8][{''.join(_INPUT_LETTERS.values())}]|--))*")


@dataclass(frozen=True, kw_only=True)
class Description:
    """The network of a file, and its formats.

    Args:
        model: registered name or `package.module:factory`; empty for a module given as an object.
        options: keyword arguments of the factory.
        wiring: module, parameter, folded norm and aliases of each layer.
        bits: three characters per layer.
        formats: one letter per layer.
        granularity: what shares a scale, one entry per layer; empty if all scales are per output channel.
        wide: numbers of the layers whose scales and folded biases are float32.
        read_elsewhere: numbers of the layers that more than their module reads, where inputs may be quantized.
        rounds_output: numbers of the layers whose output is rounded where weight and input are quantized.
        axes: number of a layer → axes of its output channels, where the module's class does not tell them; ascending.
    """

    model: str
    options: Mapping[str, Any]
    wiring: Sequence[Sequence[str]]
    bits: str
    formats: str
    granularity: Sequence[Granularity] = ()
    wide: frozenset[int] = frozenset()
    read_elsewhere: frozenset[int] = frozenset()
    rounds_output: frozenset[int] = frozenset()
    axes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, metadata: Mapping[str, str]) -> Description:
        """From a file's metadata.

        Raises:
            ValueError: they describe no network. They may come from a forged file; every value in them is checked.
        """
        try:
            document = decompress(metadata["model"])
            model, options, wiring = str(document["model"]), dict(document["options"]), document["layers"]
            bits, formats = metadata["bits"], metadata["formats"]
            granularity = tuple(document.get("granularity", ()))
            if "scales" in metadata:
                granularity = tuple(_GRANULARITIES[letter] for letter in metadata["scales"])
            axes = {int(index): _axes(given) for index, given in document.get("axes", {}).items()}
            _check_spelling(wiring, bits, formats, granularity)
            wide = _layer_numbers("wide", document, len(wiring))
            elsewhere = _layer_numbers("read_elsewhere", document, len(wiring))
            rounds_output = _layer_numbers("rounds_output", document, len(wiring))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(str(error)) from error
        return cls(
            model=model,
            options=options,
            wiring=wiring,
            bits=bits,
            formats=formats,
            granularity=granularity,
            wide=wide,
            read_elsewhere=elsewhere,
            rounds_output=rounds_output,
            axes=axes,
        )

    @property
    def allocation(self) -> Allocation:
        """The stored formats of every layer."""
        return Allocation({_layer_name(*wire[:2]): self.choice(index) for index, wire in enumerate(self.wiring)})

    def choice(self, index: int) -> Choice:
        """The stored formats of one layer."""
        input = self.input(index)
        granularity = self.granularity[index] if self.granularity else "channel"
        return Choice(_weight_format(self.bits[3 * index], self.formats[index], granularity), FLOAT if input is None else input[0])

    def input(self, index: int) -> tuple[NumberFormat, bool] | None:
        """The format of a layer's input and whether it is signed; None for a float input."""
        return input_format(*self.bits[3 * index + 1 : 3 * index + 3])

    def layers(self, model: nn.Module) -> tuple[Layer, ...]:
        """The layers in the built float architecture; values that need a forward pass (MACs, activation sizes) are 0.

        Raises:
            ArtifactError: a layer is not in this model.
        """
        found = (_find_layer(model, wire, self.axes.get(number)) for number, wire in enumerate(self.wiring))
        return tuple(
            replace(
                layer,
                wide=number in self.wide,
                read_elsewhere=number in self.read_elsewhere,
                rounds_output=number in self.rounds_output,
            )
            for number, layer in enumerate(found)
        )


def without_formats(blueprint: Blueprint) -> dict[str, str]:
    """The metadata of a network before its allocation is known, of the same length."""
    count = len(blueprint.layers)
    scales = {"scales": _SCALE_LETTERS["channel"] * count} if blueprint.mixed else {}
    return {"model": compress(described(blueprint)), "bits": "-" * 3 * count, "formats": "-" * count, **scales}


def spelled(blueprint: Blueprint, parts: Parts) -> dict[str, str]:
    """The metadata of a network."""
    baked = [parts.layers[layer.name] for layer in blueprint.layers]
    bits = "".join(_spell_bits(each.weight_format, each.input) for each in baked)
    formats = [each.weight_format for each in baked]
    scales = {"scales": "".join(_SCALE_LETTERS[each.granularity] for each in formats)} if blueprint.mixed else {}
    return {"model": compress(described(blueprint)), "bits": bits, "formats": "".join(map(_spell_format, formats)), **scales}


def described(blueprint: Blueprint) -> dict[str, Any]:
    """JSON data of the metadata key `model`; of each layer only what cannot be derived from the built model."""
    described: dict[str, Any] = {
        "model": blueprint.model,
        "options": dict(blueprint.options),
        "layers": [[layer.module, layer.parameter, layer.norm, *layer.aliases] for layer in blueprint.layers],
    }
    if blueprint.granularity:
        described["granularity"] = list(blueprint.granularity)
    if wide := [number for number, layer in enumerate(blueprint.layers) if layer.wide]:
        described["wide"] = wide
    elsewhere = [number for number, layer in enumerate(blueprint.layers) if layer.read_elsewhere and blueprint.quantizes_inputs]
    if elsewhere:
        described["read_elsewhere"] = elsewhere
    if rounds_output := [number for number, layer in enumerate(blueprint.layers) if layer.rounds_output]:
        described["rounds_output"] = rounds_output
    if axes := {str(index): list(layer.axes) for index, layer in enumerate(blueprint.layers) if layer.axes is not None}:
        described["axes"] = axes
    return described


def _spell_bits(weight: NumberFormat, input: QuantizedInput | None) -> str:
    """Three characters: weight bits, activation bits, levels of the activation."""
    bits = "-" if weight.is_float else str(weight.bits)
    return f"{bits}--" if input is None else f"{bits}{input.format.bits}{_INPUT_LETTERS[input.format.kind, input.signed]}"


def _spell_format(weight: NumberFormat) -> str:
    """One letter for the kind, `-` for a float weight, `z` for uniform numbers with a zero point."""
    if weight.zero_point:
        return _ZERO_POINT
    return "-" if weight.is_float else NUMBER_KINDS[weight.kind].letter or _UNIFORM


def _weight_format(bits: str, letter: str, granularity: Granularity = "channel") -> NumberFormat:
    """The weight's format from its bits, letter and granularity.

    Raises:
        ValueError: there is no such format.
    """
    if bits == letter == "-":
        return FLOAT
    kinds = {kind.letter or _UNIFORM: name for name, kind in NUMBER_KINDS.items()} | {_ZERO_POINT: "uniform"}
    if "-" in (bits, letter) or letter not in kinds:
        raise ValueError(f"format '{letter}' of a weight of '{bits}' bits is unknown")
    return NumberFormat(kinds[letter], int(bits), granularity, zero_point=letter == _ZERO_POINT)


def input_format(bits: str, letter: str) -> tuple[NumberFormat, bool] | None:
    """The input's format and whether it is signed; None for a float input."""
    if bits == "-":
        return None
    kind, signed = next(key for key, value in _INPUT_LETTERS.items() if value == letter)
    return NumberFormat(kind, int(bits)), signed


def compress(document: Mapping[str, Any]) -> str:
    """JSON → short ASCII text."""
    text = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    return base64.b85encode(zlib.compress(text, 9)).decode()


def decompress(text: str) -> dict[str, Any]:
    """Inverse of `compress`.

    Raises:
        ValueError: the text is invalid or unpacks to more than 16 MiB.
    """
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(base64.b85decode(text), 2**24)
    except zlib.error as error:
        raise ValueError(f"compressed metadata cannot be read: {error}") from error
    if unpacker.unconsumed_tail:
        raise ValueError("compressed metadata unpacks to more than 16 MiB")
    document: dict[str, Any] = json.loads(raw)
    return document


def _axes(given: Any) -> tuple[int, ...]:
    axes = tuple(given)
    if not all(type(axis) is int and axis >= 0 for axis in axes) or list(axes) != sorted(set(axes)):
        raise ValueError(f"{given!r} are no axes")
    return axes


def _check_spelling(wiring: Any, bits: str, formats: str, granularity: Sequence[Any]) -> None:
    """Validate layers, bits and formats, since a forged file can have a correct digest."""
    if not isinstance(wiring, list) or not all(
        isinstance(wire, list) and len(wire) >= 3 and all(isinstance(word, str) for word in wire) for wire in wiring
    ):
        raise ValueError("its layers are no lists of names")
    if len(bits) != 3 * len(wiring) or len(formats) != len(wiring) or not _BITS.fullmatch(bits):
        raise ValueError(f"bits '{bits}' and formats '{formats}' are not those of {len(wiring)} layers")
    for letter, weight_bits, shared in zip(formats, bits[::3], granularity or ["channel"] * len(wiring), strict=True):
        _weight_format(weight_bits, letter, shared)


def _layer_numbers(key: str, document: Mapping[str, Any], layers: int) -> frozenset[int]:
    numbers = document.get(key, [])
    if not isinstance(numbers, list) or not all(type(number) is int and 0 <= number < layers for number in numbers):
        raise ValueError(f"its {key} layers are no numbers of {layers} layers")
    return frozenset(numbers)


def _layer_name(module: str, parameter: str) -> str:
    """Name of the layer whose weight is `parameter` of `module`."""
    return module if parameter == "weight" and module else f"{module}.{parameter}".lstrip(".")


def _find_layer(model: nn.Module, wire: Sequence[str], axes: tuple[int, ...] | None) -> Layer:
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
    if axes and axes[-1] >= len(shape):
        raise ArtifactError(f"the artifact's layer '{path}' has other axes than this model; give the model it was made from")
    channels = Rows.of(module, weight, axes=axes).channels
    has_bias = bool(norm) or (axes is None and parameter == "weight" and isinstance(getattr(module, "bias", None), Tensor))
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
        axes=axes,
    )
