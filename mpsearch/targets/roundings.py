"""`rounded_outputs`: the layers whose output is rounded before anything reads it, which some runtimes make one operation of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mpsearch.core.layer import Layer
from mpsearch.targets.skeleton import QUANTIZE, Skeleton

if TYPE_CHECKING:
    import onnx

__all__ = ["rounded_outputs"]

_ARRANGING = ("Transpose", "Reshape", "Identity")
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def rounded_outputs(skeleton: Skeleton, layers: Sequence[Layer]) -> dict[str, bool]:
    """Layers whose output, past its bias and a ReLU, goes to inputs of layers alone → whether there is a ReLU.

    Args:
        skeleton: of the network, with a mark at each layer's input.
        layers: of the network.
    """
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in skeleton.nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    returned = {value.name for value in skeleton.outputs}
    given = {*skeleton.state, *skeleton.constants}
    places = {full: name for name, full in skeleton.state.items()}
    found: dict[str, bool] = {}
    for layer in layers:
        name, relu = places.get(f"{layer.module}.{layer.parameter}".lstrip("."), ""), False
        product = _product_of(name, readers)
        if product is None:
            continue
        output = product.output[0]
        while output not in returned:
            after = readers.get(output, [])
            if after and all(node.op_type == QUANTIZE for node in after):
                found[layer.name] = relu
                break
            if len(after) != 1 or not _passes(after[0], output, given):
                break
            relu |= after[0].op_type == "Relu"
            output = after[0].output[0]
    return found


def _product_of(name: str, readers: dict[str, list[onnx.NodeProto]]) -> onnx.NodeProto | None:
    """The one node that multiplies by a weight."""
    while True:
        after = readers.get(name, [])
        if len(after) != 1:
            return None
        if after[0].op_type in _PRODUCTS:
            return after[0]
        if after[0].op_type not in _ARRANGING:
            return None
        name = after[0].output[0]


def _passes(node: onnx.NodeProto, output: str, given: set[str]) -> bool:
    """Whether a node only adds a bias, or is a ReLU."""
    others = [name for name in node.input if name != output]
    return node.op_type == "Relu" or (node.op_type == "Add" and all(name in given for name in others))
