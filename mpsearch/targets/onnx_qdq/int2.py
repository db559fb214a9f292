"""INT2 tensors, which ONNX has since opset 25, and whether the installed ONNX Runtime loads them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mpsearch.core.errors import ConfigError
from mpsearch.core.extras import needs
from mpsearch.numbers.packing import pack, packed_bytes
from mpsearch.targets.onnx.runtime import first_line
from mpsearch.targets.onnx.sections import Initializer, varint_bytes

if TYPE_CHECKING:
    import onnx

__all__ = ["INT2", "IR_VERSION", "OPSET", "Int2Initializer", "check_runtime_loads_int2"]

OPSET, IR_VERSION = 25, 13
"""The first with INT2."""

INT2 = "int2"
_BITS = 2


class Int2Initializer(Initializer):
    """A tensor of four numbers in a byte, the first in the lowest bits."""

    def proto(self) -> onnx.TensorProto:
        """The tensor as the file holds it."""
        tensor = self._empty()
        tensor.raw_data = pack(np.asarray(self.data), _BITS).tobytes()
        return tensor

    def bytes(self) -> int:
        """Bytes of it in the file."""
        count = packed_bytes(math.prod(self.shape), _BITS)
        inner: int = self._empty().ByteSize() + (1 + varint_bytes(count) + count)
        return 1 + varint_bytes(inner) + inner

    def _empty(self) -> onnx.TensorProto:
        import onnx

        return onnx.TensorProto(name=self.name, data_type=onnx.TensorProto.INT2, dims=self.shape)


def check_runtime_loads_int2(purpose: str) -> None:
    """Load a small INT2 weight in ONNX Runtime.

    Its version 1.32 refuses files where `DequantizeLinear` reads INT2 before an integer kernel (`QLinearConv` takes none), and computes
    wrong products of float inputs and such matrices. Behind a `Cast`, which it computes when it loads the file, neither happens.

    Args:
        purpose: who needs it, such as `"target 'onnx-qdq'"`.

    Raises:
        ConfigError: the installed versions do not know INT2, or packages of the extra `onnx` are missing.
    """
    needs(purpose, "onnx", "onnx", "onnxruntime")
    import onnx
    import onnxruntime

    cure = "pip install --upgrade onnx onnxruntime, or leave out int2"
    if onnx.defs.onnx_opset_version() < OPSET or not hasattr(onnx.TensorProto, "INT2"):
        raise ConfigError(f"{purpose} with int2: onnx {onnx.__version__} has no INT2 (opset {OPSET} is the first that has it); {cure}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(_model().SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its classes are private
        raise ConfigError(
            f"{purpose} with int2: ONNX Runtime {onnxruntime.__version__} loads no INT2 weight ({first_line(error)}); {cure}"
        ) from error


def _model() -> onnx.ModelProto:
    """A product with an INT2 weight."""
    import onnx
    from onnx import helper

    weight = Int2Initializer("q", INT2, (4, 4), np.zeros((4, 4), dtype=np.int16)).proto()
    scale = onnx.numpy_helper.from_array(np.ones(4, dtype=np.float32), "s")
    nodes = [helper.make_node("Cast", ["q"], ["f"], to=1), helper.make_node("Mul", ["f", "s"], ["w"])]
    nodes.append(helper.make_node("MatMul", ["x", "w"], ["y"]))
    given, found = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4]) for name in ("x", "y"))
    graph = helper.make_graph(nodes, "g", [given], [found], [weight, scale])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
