"""`Pt2Artifact`: the network stored in a `torch.export` program."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import ArtifactError
from mpsearch.core.files import is_file
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import BakedLayer, CodedWeight, FloatWeight, Parts, QuantizedInput, install, rest_of_state
from mpsearch.network.canonical import canonical
from mpsearch.numbers.stored import StoredNumbers
from mpsearch.targets.base import Artifact
from mpsearch.targets.description import Description
from mpsearch.targets.pt2 import layout
from mpsearch.targets.pt2.program import DATA, GRAPH
from mpsearch.targets.pt2.write import METADATA

__all__ = ["Pt2Artifact", "read_artifact"]


class Pt2Artifact(Artifact):
    """A program, from which the network can be built, or run as it is.

    Args:
        content: of the file.
        description: network and formats.
        packed: the bytes of the network.
        zero_points: whether every row has room for one.
    """

    def __init__(self, content: bytes, description: Description, packed: bytes, zero_points: bool) -> None:
        self.description = description
        self.model, self.options = description.model, description.options
        self.bits = 8 * len(packed)
        self._content, self._packed, self._zero_points = content, packed, zero_points

    @property
    def allocation(self) -> Allocation:
        """The stored formats of every layer."""
        return self.description.allocation

    def parts(self, model: nn.Module) -> Parts:
        """The numbers for the built float architecture.

        Raises:
            ArtifactError: the file's contents do not fit the model.
        """
        layers, state = self.description.layers(model), model.state_dict()
        formats = [self.description.choice(number).weight for number in range(len(layers))]
        rest = {name: state[name] for name in rest_of_state(model, layers)}
        head = layout.Head(layers, self.description.granularity, self._zero_points, rest)
        sizes = list(map(layout.layer_bytes, layers, formats))
        if len(self._packed) != head.size + sum(sizes) + layout.TAIL:
            raise ArtifactError("the file's numbers do not fit this model; give the model it was made from")
        numbers = {name: self._numbers(part) for name, part in head.parts.items()}
        baked, start = {}, head.size
        for number, (layer, format, size) in enumerate(zip(layers, formats, sizes, strict=True)):
            own = {name: each[number] for name, each in numbers.items()}
            baked[layer.name] = self._layer(layer, number, format, self._packed[start : start + size], own)
            start += size
        return Parts(layers=baked, rest={name: self._tensor(place, state[name]) for name, place in head.starts.items()})

    def _numbers(self, part: layout.Part) -> list[Tensor]:
        """Of each layer."""
        found = np.frombuffer(self._packed[part.start : part.stop], dtype=part.dtype)
        return [torch.from_numpy(each.copy()) for each in np.split(found, np.cumsum(part.counts)[:-1])]

    def _layer(self, layer: Layer, number: int, format: NumberFormat, codes: bytes, own: Mapping[str, Tensor]) -> BakedLayer:
        levels = dict(zip(layout.LEVELS, own["levels"], strict=True))
        weight: FloatWeight | CodedWeight
        scales = own["scales"] if layer.wide else own["half_scales"]
        if format.is_float:
            weight = FloatWeight(values=torch.from_numpy(np.frombuffer(codes, dtype="<f4").reshape(layer.weight_shape).copy()))
        else:
            try:
                found, _ = format.unpack(np.frombuffer(codes, dtype=np.uint8), scales.numpy(), layer.weights // len(scales))
            except ValueError as error:
                raise ArtifactError(f"the artifact's layer '{layer.name}' cannot be unpacked ({error}); export it again") from error
            stored = StoredNumbers(values=scales, exponent=_exponent(levels["scale"]))
            zeros = own["zeros"] if format.zero_point else None
            weight = CodedWeight(format=format, codes=torch.from_numpy(found.copy()), scales=stored, zeros=zeros)
        bias: StoredNumbers | Tensor | None = None
        if layer.bias_elements:
            bias = own["biases"] if layer.wide or not layer.norm else own["half_biases"]
            bias = StoredNumbers(values=bias, exponent=_exponent(levels["bias"])) if layer.norm else bias
        input = self.description.input(number)
        rounded = None if input is None else QuantizedInput(format=input[0], signed=input[1], step=levels["step"].clone())
        return BakedLayer(choice=self.description.choice(number), weight=weight, bias=bias, input=rounded)

    def install(self, model: nn.Module) -> nn.Module:
        """A copy of the architecture with the numbers installed, ready to run.

        Raises:
            ArtifactError: the file's contents do not fit the model.
            ModelError: the architecture cannot be copied.
        """
        model = canonical(model)
        return install(model, self.description.layers(model), self.parts(model))

    def program(self) -> nn.Module:
        """The program as torch runs it. Only for a file of one's own: torch evaluates expressions of a program when it loads one."""
        return torch.export.load(io.BytesIO(self._content)).module()

    def _tensor(self, start: int, like: Tensor) -> Tensor:
        raw = torch.frombuffer(bytearray(self._packed[start : start + like.nbytes] or b"\0"), dtype=torch.uint8)[: like.nbytes]
        return raw.view(like.dtype).reshape(like.shape)


def _exponent(power: Tensor) -> int:
    return math.frexp(float(power))[1] - 1 if power > 0 else 0


def read_artifact(path: Path) -> Pt2Artifact:
    """Read and check a file.

    Raises:
        ArtifactError: the file is missing, truncated, was tampered with, or was not written by mpsearch.
    """
    if not is_file(path):
        raise ArtifactError(f"no artifact at {path}; give the path of a model.pt2 that 'mpsearch study --target pt2' wrote")
    content = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as held:
            names = [name for name in held.namelist() if name.startswith(METADATA)]
            metadata = {name.removeprefix(METADATA): held.read(name).decode() for name in names}
            packed, graph = (held.read(DATA), _compressed(held, content, GRAPH)) if metadata else (b"", b"")
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError, zlib.error) as error:
        raise ArtifactError(f"{path} is truncated or no program of mpsearch ({error}); export it again") from error
    if metadata.get("format") != layout.VERSION:
        raise ArtifactError(f"{path} was not written by mpsearch (it lacks format={layout.VERSION}); give a file of the target pt2")
    if metadata.get("digest") != layout.file_digest(metadata, packed, graph):
        raise ArtifactError(f"{path} was changed after it was written (its digest does not match its content); export it again")
    try:
        description = Description.read(metadata)
    except ValueError as error:
        raise ArtifactError(f"{path} describes no model that can be read ({error}); export it again") from error
    return Pt2Artifact(content, description, packed, metadata.get("zero_points") == "1")


def _compressed(held: zipfile.ZipFile, content: bytes, name: str) -> bytes:
    """An entry as it lies in the file."""
    entry = held.getinfo(name)
    start = entry.header_offset + 30 + len(name.encode())
    return content[start : start + entry.compress_size]
