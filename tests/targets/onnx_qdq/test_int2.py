"""INT2 tensors lie as ONNX reads them, and a runtime that loads none is named before anything is trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from mpsearch.core.errors import ConfigError
from mpsearch.targets.onnx_qdq.int2 import INT2, Int2Initializer, check_runtime_loads_int2


@pytest.mark.parametrize("shape", [(1,), (8, 3), (4,), (3, 7)])
def test_numbers_are_read_back_and_bytes_are_known(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(-2, 2, shape).astype(np.int16)
    held = Int2Initializer("q", INT2, shape, values)
    proto = held.proto()
    assert onnx.numpy_helper.to_array(proto).astype(np.int16).tolist() == values.tolist()
    assert len(proto.raw_data) == -(-values.size // 4)
    assert Int2Initializer("q", INT2, shape).bytes() == held.bytes() == onnx.GraphProto(initializer=[proto]).ByteSize()


def test_the_installed_runtime_loads_int2() -> None:
    check_runtime_loads_int2("a test")


def test_a_runtime_that_loads_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("unsupported data type: 26\nat line 7")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuses)
    with pytest.raises(ConfigError, match=r"loads no INT2 weight \(unsupported data type: 26\); pip install --upgrade onnx onnx"):
        check_runtime_loads_int2("target 'onnx-qdq'")


def test_an_onnx_that_knows_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx.defs, "onnx_opset_version", lambda: 23)
    with pytest.raises(ConfigError, match=r"has no INT2 \(opset 25 is the first that has it\)"):
        check_runtime_loads_int2("target 'onnx-qdq'")
