"""`Program`: a network as a `torch.export` program of one buffer of bytes, traced once for all allocations."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import operator
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.core.choice import Choice
from mpsearch.core.errors import ModelError
from mpsearch.core.layer import Layer
from mpsearch.core.nested import mapped
from mpsearch.core.number_format import FLOAT, Granularity
from mpsearch.network.baked import BakedLayer, FloatWeight, Parts, install, rest_of_state
from mpsearch.network.batchnorm import owner_of
from mpsearch.network.inputs import batch_size, samples_of
from mpsearch.network.integer_sums import is_product, scale_sums
from mpsearch.network.quantizers import attach_act_quantizer
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.stored import StoredNumbers
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.pt2.archive import Entry, stored, with_number
from mpsearch.targets.pt2.layout import TAIL, Head
from mpsearch.targets.pt2.unpacking import Unpack, UnpackedInput, UnpackedSums

__all__ = ["DATA", "GRAPH", "Program", "program_of"]

_PURPOSE = "target 'pt2'"
_SAMPLES = 2
_BUFFER = "packed"
DATA = "model/data/weights/weight_0"
"""Name of the bytes in the archive."""

GRAPH = "model/models/model.json"
"""Name of the graph in the archive."""

_SIZED = (GRAPH, "model/data/weights/model_weights_config.json")
_SAMPLE_INPUTS = "model/data/sample_inputs/model.pt"
_IDENTITY = "model/.data/serialization_id"


@dataclass(frozen=True, kw_only=True)
class Program:
    """The archive but for its bytes.

    Args:
        sized: entries in which the number of bytes stands, as the pieces around it.
        others: all other entries.
    """

    sized: Mapping[str, tuple[bytes, ...]]
    others: Mapping[str, bytes]

    def entries(self, packed: bytes) -> dict[str, Entry]:
        """The archive's entries around these bytes."""
        sized = {name: with_number(pieces, len(packed)) for name, pieces in self.sized.items()}
        return sized | {name: stored(content) for name, content in self.others.items()} | {DATA: stored(packed)}


def program_of(blueprint: Blueprint, head: Head, rest: Mapping[str, Tensor]) -> Program:
    """Trace a network with a free batch size.

    Args:
        blueprint: network, layers, inputs.
        head: where the tensors of no layer lie.
        rest: tensors of no layer.

    Raises:
        ModelError: the exporter cannot trace the network.
    """
    # A size whose digits occur nowhere else in the archive's texts.
    packed = torch.zeros(head.size + 16 * sum(layer.weights + layer.channels for layer in blueprint.layers) + TAIL, dtype=torch.uint8)
    inputs = mapped(samples_of(blueprint.inputs, slice(0, _SAMPLES), batch_size(blueprint.inputs)), _on_cpu)
    try:
        with _silence():
            traced = _export(_with_roundings(blueprint, head, packed), inputs).module()
            _unpack_in(traced, blueprint, head, rest, packed)
            exported = _export(traced, inputs)
            exported._example_inputs = None
            buffer = io.BytesIO()
            for node in list(exported.graph.nodes):
                if node.target is torch.ops.aten._assert_tensor_metadata.default:
                    exported.graph.erase_node(node)
                node.meta = {key: value for key, value in node.meta.items() if key not in _NOTES}
            torch.export.save(exported, buffer)
    except Exception as error:  # anything at all, from tracer and decompositions
        raise ModelError(
            f"{_PURPOSE}: torch.export cannot trace the network with a free batch size ({_cause(error)}); use --target packed"
        ) from error
    return _templates(buffer, len(packed))


_NOTES = ("stack_trace", "nn_module_stack", "torch_fn", "source_fn_stack", "from_node", "custom")
"""Notes at a node about where it came from."""


def _on_cpu(value: Any) -> Any:
    return value.cpu() if isinstance(value, Tensor) else value


def _with_roundings(blueprint: Blueprint, head: Head, packed: Tensor) -> nn.Module:
    """The architecture with BatchNorms folded, and inputs of layers rounded to levels in the bytes; its weights do not matter."""
    architecture, layers = blueprint.architecture, blueprint.layers
    state = architecture.state_dict()
    baked = {layer.name: _any_numbers(layer, architecture) for layer in layers}
    rest = {name: state[name] for name in rest_of_state(architecture, layers)}
    model = install(architecture, layers, Parts(layers=baked, rest=rest)).cpu()
    for number, layer in enumerate(layers):
        if layer.act_quantizable and blueprint.quantizes_inputs:
            module, product = model.get_submodule(layer.module), _is_product(blueprint, layer)
            attach_act_quantizer(module, UnpackedInput(head, number, packed, product=product))
            if product:
                scale_sums(module, UnpackedSums(head, number, packed, layer))
    return model


def _is_product(blueprint: Blueprint, layer: Layer) -> bool:
    """Whether the layer multiplies integers if its formats let it."""
    whole = not blueprint.granularity or not isinstance(blueprint.granularity[blueprint.layers.index(layer)], int)
    quantized = layer.act_quantizable and blueprint.quantizes_inputs
    return quantized and whole and is_product(blueprint.architecture.get_submodule(layer.module), layer)


def _any_numbers(layer: Layer, architecture: nn.Module) -> BakedLayer:
    weight = getattr(architecture.get_submodule(layer.module), layer.parameter)
    bias = StoredNumbers(values=torch.zeros(layer.bias_elements)) if layer.bias_elements else None
    return BakedLayer(choice=Choice(FLOAT), weight=FloatWeight(values=weight.detach().float().clone()), bias=bias)


def _export(model: nn.Module, inputs: Any) -> torch.export.ExportedProgram:
    samples = batch_size(inputs)
    shapes = mapped(inputs, lambda value: _free(value, samples))
    if isinstance(inputs, dict):
        return torch.export.export(model, (), inputs, dynamic_shapes=shapes)
    several = isinstance(inputs, tuple | list)
    return torch.export.export(model, tuple(inputs) if several else (inputs,), dynamic_shapes=tuple(shapes) if several else (shapes,))


def _free(value: Any, samples: int) -> Any:
    return {0: torch.export.Dim.DYNAMIC} if isinstance(value, Tensor) and value.dim() and len(value) == samples else None


def _unpack_in(traced: torch.fx.GraphModule, blueprint: Blueprint, head: Head, rest: Mapping[str, Tensor], packed: Tensor) -> None:
    """Let every tensor of the state come out of the bytes."""
    shared: Sequence[Granularity] = blueprint.granularity or ["channel"] * len(blueprint.layers)
    rows = [Rows.of_layer(blueprint.architecture, layer, each) for layer, each in zip(blueprint.layers, shared, strict=True)]
    places = _places(blueprint, rest)
    graph, made = traced.graph, dict[int, torch.fx.Node]()
    traced.register_buffer(_BUFFER, packed)
    products = [_is_product(blueprint, layer) for layer in blueprint.layers]
    traced.add_submodule("unpack", Unpack(head, rows, products, blueprint.formats, rest))
    reads = [node for node in graph.nodes if node.op == "get_attr"]
    with graph.inserting_before(next(iter(graph.nodes))):
        source = graph.get_attr(_BUFFER)
        unpacked = graph.call_module("unpack", (source,))
    for node in reads:
        if node.target.endswith((f"input_quantizer.file.{_BUFFER}", f"output_scaling.file.{_BUFFER}")):
            node.replace_all_uses_with(source)
        elif node.target in places:
            place = places[node.target]
            if place not in made:
                with graph.inserting_after(unpacked):
                    made[place] = graph.call_function(operator.getitem, (unpacked, place))
            node.replace_all_uses_with(made[place])
    for node in reads:
        if not node.users:
            graph.erase_node(node)
    used = {node.target for node in graph.nodes if node.op == "get_attr"}
    for name in [*dict(traced.named_parameters(remove_duplicate=False)), *dict(traced.named_buffers(remove_duplicate=False))]:
        if name not in used:
            delattr(*owner_of(traced, name))
    traced.recompile()


def _places(blueprint: Blueprint, rest: Mapping[str, Tensor]) -> dict[str, int]:
    """Name in the state of the folded network → place among what `Unpack` gives."""
    found: dict[str, int] = {}
    for number, layer in enumerate(blueprint.layers):
        found |= dict.fromkeys([f"{layer.module}.{layer.parameter}".lstrip("."), *layer.aliases], number)
        if layer.bias_elements:
            found[f"{layer.module}.bias".lstrip(".")] = len(blueprint.layers) + number
    others = {name: 2 * len(blueprint.layers) + number for number, name in enumerate(rest)}
    first: dict[int, str] = {}
    for name, tensor in blueprint.architecture.state_dict(keep_vars=True).items():
        same = first.setdefault(id(tensor), name)
        if name not in found and (same in found or same in others):
            found[name] = found[same] if same in found else others[same]
    return found


def _templates(buffer: io.BytesIO, size: int) -> Program:
    with zipfile.ZipFile(buffer) as saved:
        contents = {f"model/{name.split('/', 1)[1]}": saved.read(name) for name in saved.namelist()}
    number = f'{{"as_int": {size}}}'.encode()
    if DATA not in contents or not all(name in contents and contents[name].count(number) for name in _SIZED):
        raise ModelError(f"{_PURPOSE}: this version of torch ({torch.__version__}) writes programs otherwise; install torch 2.14")
    del contents[DATA]
    contents[_IDENTITY] = b"0" * 40  # torch hashes the content here, and never reads it
    contents = {name: _compact(content) if name.endswith(".json") else content for name, content in contents.items()}
    number = number.replace(b" ", b"")
    sized = {}
    for name in _SIZED:
        pieces = contents.pop(name).split(number)
        between = [b'{"as_int":', b"}"]
        sized[name] = (pieces[0] + between[0], *(between[1] + each + between[0] for each in pieces[1:-1]), between[1] + pieces[-1])
    return Program(sized=sized, others=contents)


def _compact(text: bytes) -> bytes:
    return json.dumps(json.loads(text), separators=(",", ":")).encode()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The exporter logs and warns about itself."""
    previous = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first:.200}" if first else type(error).__name__
