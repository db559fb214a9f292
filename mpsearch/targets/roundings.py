"""`rounded_outputs`: the layers whose output is rounded before anything reads it, which some runtimes make one operation of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpsearch.core.layer import Layer
from mpsearch.targets.marks import QUANTIZE, ROUND
from mpsearch.targets.skeleton import Skeleton

if TYPE_CHECKING:
    import onnx

__all__ = ["RoundedOutput", "rounded_outputs"]

_ARRANGING = ("Transpose", "Reshape", "Identity")
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True, kw_only=True)
class RoundedOutput:
    """What follows a layer.

    Args:
        readers: numbers of the layers whose inputs read the output; empty where it is rounded by itself.
        relu: whether a ReLU, bounded or not, stands between.
        bound: its upper bound; infinite for a plain one.
        bounded: name in the graph of what a bounded one gives, or "".
    """

    readers: tuple[int, ...]
    relu: bool = False
    bound: float = float("inf")
    bounded: str = ""


def rounded_outputs(skeleton: Skeleton, layers: Sequence[Layer]) -> dict[str, RoundedOutput]:
    """Layers whose output, past its bias and at most one ReLU, is rounded or goes to inputs of layers alone.

    Args:
        skeleton: of the network, with a mark at each layer's input and at each rounded output.
        layers: of the network.
    """
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in skeleton.nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    places = {full: name for name, full in skeleton.state.items()}
    found: dict[str, RoundedOutput] = {}
    for layer in layers:
        product = _product_of(places.get(f"{layer.module}.{layer.parameter}".lstrip("."), ""), readers)
        if product is not None and (rounded := _rounded(product.output[0], skeleton, readers)) is not None:
            found[layer.name] = rounded
    return found


def _rounded(output: str, skeleton: Skeleton, readers: dict[str, list[onnx.NodeProto]]) -> RoundedOutput | None:
    returned = {value.name for value in skeleton.outputs}
    given = {*skeleton.state, *skeleton.constants}
    relu, bound, bounded = False, float("inf"), ""
    while output not in returned:
        after = readers.get(output, [])
        if after and all(node.op_type in (QUANTIZE, ROUND) for node in after):
            layers = tuple(node.attribute[0].i for node in after if node.op_type == QUANTIZE)
            return RoundedOutput(readers=layers, relu=relu, bound=bound, bounded=bounded)
        if len(after) != 1:
            return None
        (node,) = after
        if node.op_type == "Relu" and not relu:
            relu = True
        elif node.op_type == "Clip" and not relu and (top := _top(node, skeleton)) is not None:
            relu, bound, bounded = True, top, node.output[0]
        elif node.op_type != "Add" or any(name not in given for name in node.input if name != output):
            return None
        output = node.output[0]
    return None


def _top(clip: onnx.NodeProto, skeleton: Skeleton) -> float | None:
    """The upper bound of a ReLU6 and its like; None if its lower one is not 0."""
    ends = [skeleton.constants.get(name) for name in clip.input[1:]]
    if len(ends) != 2 or ends[0] is None or ends[1] is None or float(ends[0]) != 0:
        return None
    return float(ends[1])


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
