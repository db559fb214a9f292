"""`GgufWriter`: writes the GGUF files of one network.

Everything but the types, offsets and bytes of the layers is the same for every allocation: the sizes of the network, the tokenizer,
norms and biases as float32. Our own metadata stand under keys that llama.cpp passes over.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mpsearch.core.errors import ArtifactError
from mpsearch.core.extras import needs
from mpsearch.core.files import replacing
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import BakedLayer, FloatWeight, Parts, rest_of_state
from mpsearch.targets.base import Writer
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.description import spelled, without_formats
from mpsearch.targets.gguf import blocks
from mpsearch.targets.gguf.architecture import Architecture, architecture_of
from mpsearch.targets.gguf.container import DIGEST, PREFIX, aligned, digest_of
from mpsearch.targets.gguf.tokenizer import Tokenizer, tokenizer_of

if TYPE_CHECKING:
    import gguf

__all__ = ["VERSION", "GgufWriter", "weight_name"]

VERSION = "mpsearch-gguf-1"

_QUANTIZATION_VERSION = 2
"""Of ggml's blocks."""

_NO_DIGEST = "0" * 32


class GgufWriter(Writer):
    """Writes the files of one network.

    Args:
        blueprint: of the network.

    Raises:
        ModelError: llama.cpp does not know this network, or the file cannot carry its tokenizer.
        ConfigError: the package `gguf` is not installed.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        needs("target 'gguf'", "gguf", "gguf")
        self.blueprint = blueprint
        model: Any = blueprint.architecture
        self._architecture: Architecture = architecture_of(model)
        self._rest = rest_of_state(model, blueprint.layers)
        for name in (*self._rest, *map(weight_name, blueprint.layers)):
            self._architecture.name(name)
        folder = str(getattr(model.config, "_name_or_path", ""))
        self._tokenizer: Tokenizer | None = tokenizer_of(Path(folder), int(model.config.vocab_size)) if folder else None
        ids = {name: getattr(model.config, f"{name}_token_id", None) for name in ("bos", "eos", "pad")}
        self._ids = {name: int(each[0] if isinstance(each, list) else each) for name, each in ids.items() if each is not None}

    @cached_property
    def overhead_bytes(self) -> int:
        """Metadata, tokenizer, norms and biases."""
        state = self.blueprint.architecture.state_dict()
        rest = {name: state[name] for name in self._rest}
        floats = sum(aligned(4 * tensor.numel()) for tensor in rest.values())
        floats += sum(aligned(4 * layer.bias_elements) for layer in self.blueprint.layers)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "header.gguf"
            writer = self._begun(path, without_formats(self.blueprint))
            for layer in self.blueprint.layers:
                writer.add_tensor_info(
                    self._architecture.name(weight_name(layer)), layer.weight_shape, np.dtype(np.float32), 4 * layer.weights
                )
                if layer.bias_elements:
                    writer.add_tensor_info(self._architecture.name(_bias_name(layer)), (layer.bias_elements,), np.dtype(np.float32), 0)
            for name, tensor in rest.items():
                writer.add_tensor_info(self._architecture.name(name), tuple(tensor.shape), np.dtype(np.float32), 0)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            writer.close()
            return aligned(path.stat().st_size) + floats

    def layer_bytes(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> int:
        """Blocks, or float32 numbers."""
        return aligned(blocks.tensor_bytes(weight, layer.weights))

    def write(self, path: Path, parts: Parts) -> int:
        """Write the file atomically.

        Raises:
            ArtifactError: a layer has scales that half precision cannot hold.
        """
        import gguf

        with replacing(path) as temporary:
            writer = self._begun(temporary, spelled(self.blueprint, parts))
            for layer in self.blueprint.layers:
                baked = parts.layers[layer.name]
                name, data = self._architecture.name(weight_name(layer)), self._weight(layer, baked)
                type = gguf.GGMLQuantizationType(blocks.TYPES[baked.weight_format].number)
                writer.add_tensor(name, data, raw_dtype=None if baked.weight_format.is_float else type)
                if isinstance(baked.bias, Tensor):
                    bias = baked.bias.numpy()[self._architecture.order(_bias_name(layer), baked.bias.numel())]
                    writer.add_tensor(self._architecture.name(_bias_name(layer)), np.ascontiguousarray(bias))
            for name in self._rest:
                writer.add_tensor(self._architecture.name(name), np.ascontiguousarray(parts.rest[name].float().numpy()))
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            _seal(temporary)
        return path.stat().st_size

    def _weight(self, layer: Layer, baked: BakedLayer) -> NDArray[Any]:
        """float32 `[out, in]`, or uint8 `[out, bytes]`, rows in the file's order."""
        rows = layer.weight_shape[0]
        order = self._architecture.order(weight_name(layer), rows)
        if isinstance(baked.weight, FloatWeight):
            return np.ascontiguousarray(baked.weight.values.numpy()[order])
        try:
            packed = blocks.joined(baked.weight.format, baked.weight.codes.numpy(), baked.weight.scales.numbers().numpy())
        except ValueError as error:
            raise ArtifactError(f"layer '{layer.name}' does not fit into blocks of ggml ({error}); use --target packed") from error
        return np.ascontiguousarray(packed.reshape(rows, -1)[order])

    def _begun(self, path: Path, description: Mapping[str, str]) -> gguf.GGUFWriter:
        """A file with all its metadata."""
        import gguf

        writer = gguf.GGUFWriter(path, self._architecture.kind)
        ours = {DIGEST: _NO_DIGEST, f"{PREFIX}format": VERSION, **{f"{PREFIX}{key}": value for key, value in description.items()}}
        for key, value in ours.items():
            writer.add_string(key, value)
        writer.add_quantization_version(_QUANTIZATION_VERSION)
        for key, size in self._architecture.sizes.items():
            (writer.add_float32 if isinstance(size, float) else writer.add_uint32)(f"{self._architecture.kind}.{key}", size)
        self._add_tokenizer(writer)
        return writer

    def _add_tokenizer(self, writer: gguf.GGUFWriter) -> None:
        tokenizer = self._tokenizer
        if tokenizer is None:
            writer.add_tokenizer_model("no_vocab")
            return
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(tokenizer.splitting)
        writer.add_token_list(list(tokenizer.tokens))
        writer.add_token_types(list(tokenizer.types))
        writer.add_token_merges(list(tokenizer.merges))
        writer.add_add_bos_token(tokenizer.begins)
        for name, number in self._ids.items():
            writer.add_uint32(f"tokenizer.ggml.{'padding' if name == 'pad' else name}_token_id", number)
        if tokenizer.chat:
            writer.add_chat_template(tokenizer.chat)


def weight_name(layer: Layer) -> str:
    """Name of a layer's weight in the `state_dict`."""
    return f"{layer.module}.{layer.parameter}".lstrip(".")


def _bias_name(layer: Layer) -> str:
    return f"{layer.module}.bias"


def _seal(path: Path) -> None:
    """Put the digest of the file into it."""
    import mmap

    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        digest = digest_of(content, _NO_DIGEST.encode())
        start = content.find(DIGEST.encode()) + len(DIGEST) + 12
        content[start : start + len(digest)] = digest.encode()
