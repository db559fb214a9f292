"""Digits: packed and unpacked alike in NumPy and by the nodes of the graph, in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from mpsearch.core.number_format import NUMBER_KINDS, NumberFormat
from mpsearch.targets.onnx import unpacking
from mpsearch.targets.onnx.unpacking import BASES, codes_of, digits_in, digits_of, digits_to_bytes, packed_bytes, planes_of

FORMATS = [NumberFormat(name, bits) for name, kind in NUMBER_KINDS.items() for bits in kind.widths]


@given(st.sampled_from([format for format in FORMATS if format.kind != "multibit"]), st.integers(1, 70), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_codes_survive_their_planes_and_bytes(format: NumberFormat, count: int, seed: int) -> None:
    most = 3 if format.kind == "ternary" else 2**format.bits
    codes, planes = np.random.default_rng(seed).integers(0, most, count), planes_of(format)
    again = []
    for plane, digits in zip(planes, digits_of(codes, planes), strict=True):
        packed = digits_to_bytes(digits, plane.base, packed_bytes(count, plane.base))
        again.append(digits_in(packed, plane.base)[:count])
    np.testing.assert_array_equal(codes_of(again, planes), codes)
    assert sum(packed_bytes(8 * 15 * count, plane.base) for plane in planes) == 15 * count * 8 * (1.6 if most == 3 else format.bits) / 8


def test_a_byte_that_holds_no_digits_is_refused() -> None:
    with pytest.raises(ValueError, match="byte 243 does not hold 5 digits of base 3"):
        digits_in(np.array([7, 243], dtype=np.uint8), 3)


@pytest.mark.parametrize("base", BASES)
def test_the_graph_unpacks_every_byte(base: int) -> None:
    """All values of a byte, split into two layers and the rest."""
    values = base ** (5 if base == 3 else 8 // (base - 1).bit_length())
    packed = np.arange(values, dtype=np.uint8)
    expected = digits_in(packed, base).astype(np.float32)
    sizes = np.array([3, len(expected) - 4, 1])
    name = unpacking.stream_name(base)
    shared = {**unpacking.constants(FORMATS, activations=False), name: packed[:, None], f"{name}z": sizes}
    graph = helper.make_graph(
        unpacking.unpacking_nodes(base, ["first", "second"]),
        "g",
        [],
        [helper.make_tensor_value_info(output, 1, [None]) for output in ("first", "second", f"{name}g")],
        [numpy_helper.from_array(value, key) for key, value in shared.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    found = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {})
    np.testing.assert_array_equal(np.concatenate(found), expected)
    assert [len(part) for part in found] == sizes.tolist()
