"""`OnnxFile`: the content of an ONNX file that mpsearch wrote, checked before anything is built from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpsearch.core.errors import ArtifactError, ConfigError
from mpsearch.core.extras import needs
from mpsearch.core.files import is_file
from mpsearch.core.nested import leaves
from mpsearch.targets.description import Description
from mpsearch.targets.onnx import layout

if TYPE_CHECKING:
    import onnx

__all__ = ["OnnxFile", "version_of"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class OnnxFile:
    """A file whose digest matches.

    Args:
        content: of the file.
        metadata: by key.
        description: network and formats.
        tensors: initializers by name.
        outputs: structure of what the network returns.
        inputs: names of its inputs.
    """

    content: bytes
    metadata: Mapping[str, str]
    description: Description
    tensors: Mapping[str, Array]
    outputs: Any
    inputs: tuple[str, ...]

    @classmethod
    def read(cls, path: Path, version: str) -> OnnxFile:
        """Read and check a file.

        Args:
            path: of the file.
            version: that its metadata must name.

        Raises:
            ArtifactError: the file is missing, truncated, was tampered with, or was not written by mpsearch for this target.
            ConfigError: packages of the extra `onnx` are missing.
        """
        needs("an ONNX file", "onnx", "onnx", "onnxruntime")
        from google.protobuf.message import DecodeError

        if not is_file(path):
            raise ArtifactError(f"no artifact at {path}; give the path of a model.onnx that 'mpsearch study --target onnx' wrote")
        content = path.read_bytes()
        try:
            model, metadata = _parsed(content)
        except DecodeError as error:
            raise ArtifactError(f"{path} is truncated or no ONNX file ({error}); export it again") from error
        if metadata.get("format") != version:
            raise ArtifactError(
                f"{path} was not written by mpsearch (its metadata lack format={version}); give a file that 'mpsearch study' wrote"
            )
        if metadata.get("digest") != layout.file_digest(metadata, model.graph):
            raise ArtifactError(f"{path} was changed after it was written (its digest does not match its content); export it again")
        try:
            description = Description.read(metadata)
            outputs = _outputs(metadata["outputs"], {value.name for value in model.graph.output})
            tensors = {tensor.name: _tensor(tensor) for tensor in model.graph.initializer}
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            raise ArtifactError(f"{path} describes no model that can be read ({error}); export it again") from error
        inputs = tuple(value.name for value in model.graph.input)
        return cls(content=content, metadata=metadata, description=description, tensors=tensors, outputs=outputs, inputs=inputs)


def version_of(path: Path) -> str:
    """The format that an ONNX file's metadata name; "" if it cannot be read."""
    try:
        needs("an ONNX file", "onnx", "onnx")
        from google.protobuf.message import DecodeError
    except (ConfigError, ImportError):
        return ""
    try:
        return _parsed(path.read_bytes())[1].get("format", "")
    except (OSError, DecodeError):
        return ""


def _parsed(content: bytes) -> tuple[onnx.ModelProto, dict[str, str]]:
    import onnx

    model = onnx.ModelProto.FromString(content)
    # What is no UTF-8 comes as bytes.
    return model, {each.key: each.value for each in model.metadata_props if isinstance(each.key, str) and isinstance(each.value, str)}


def _tensor(tensor: onnx.TensorProto) -> Array:
    """An initializer; one that points to another file would read whatever its path names."""
    from onnx import numpy_helper

    if tensor.external_data or tensor.data_location:
        raise ValueError(f"'{tensor.name}' lies in another file")
    array: Array = numpy_helper.to_array(tensor)
    if array.dtype.name not in _DTYPES:
        raise ValueError(f"'{tensor.name}' is {array.dtype}")
    return array


_FLOATS, _INTEGERS = ("float16", "float32", "float64"), ("int8", "int16", "int32", "int64", "uint8", "uint16")
_DTYPES = {*_FLOATS, *_INTEGERS, "bool", "int4", "uint4", "int2", "uint2"}


def _outputs(text: str, names: set[str]) -> Any:
    """The structure of the outputs, with names in place of tensors."""
    structure = json.loads(text)
    if not all(isinstance(leaf, str) and leaf in names for leaf in leaves(structure)):
        raise ValueError("its outputs are none of the graph")
    return structure
