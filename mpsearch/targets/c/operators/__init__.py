"""ONNX operators as C: each adds the steps of a node to a `Walk`."""

from __future__ import annotations

from collections.abc import Mapping

from mpsearch.targets.c.operators import multiply
from mpsearch.targets.c.operators.elementwise import BINARY, UNARY, where
from mpsearch.targets.c.operators.move import MOVES
from mpsearch.targets.c.operators.pool import average_pool, max_pool
from mpsearch.targets.c.operators.reduce import ALONG
from mpsearch.targets.c.walk import Operator

__all__ = ["OPERATORS"]

OPERATORS: Mapping[str, Operator] = {
    "Conv": multiply.conv,
    "ConvTranspose": multiply.transposed_conv,
    "Gemm": multiply.gemm,
    "MatMul": multiply.matmul,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "Where": where,
    **UNARY,
    **BINARY,
    **ALONG,
    **MOVES,
}
"""By name, as ONNX spells it."""
