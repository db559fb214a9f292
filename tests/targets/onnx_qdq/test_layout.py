"""A file may ask for few settings of a session; others could load what they name."""

from __future__ import annotations

import json

import pytest

from mpsearch.targets.onnx_qdq.layout import Session


def test_what_is_written_is_read() -> None:
    for precise in (False, True):
        session = Session.in_onnxruntime(precise=precise)
        assert Session.read(session.metadata()) == session
        assert session.settings == {"session.disable_quant_qdq": "0", "session.x64quantprecision": str(int(precise))}
    session = Session.in_openvino()
    assert Session.read(session.metadata()) == session
    assert (session.runtime, session.settings) == ("openvino", {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"})


def test_a_file_of_onnx_runtime_does_not_name_it() -> None:
    assert set(Session.in_onnxruntime(precise=True).metadata()) == {"session"}


@pytest.mark.parametrize(
    "forged",
    [
        {"session.model_external_initializers_file_folder_path": "/etc"},
        {"session.disable_quant_qdq": "/tmp/x"},
        {"INFERENCE_PRECISION_HINT": "f32"},
        ["session"],
        "0",
        {"session.x64quantprecision": ["1"]},
    ],
)
def test_others_are_refused(forged: object) -> None:
    with pytest.raises(ValueError, match=r"settings of its session|no file may set"):
        Session.read({"session": json.dumps(forged)})


@pytest.mark.parametrize(
    ("runtime", "settings", "reason"),
    [
        ("openvino", {"CACHE_DIR": "/etc"}, "no file may set"),
        ("openvino", {"session.disable_quant_qdq": "0"}, "no file may set"),
        ("tensorrt", {}, "which is none of onnxruntime, openvino"),
    ],
)
def test_other_runtimes_and_their_settings_are_refused(runtime: str, settings: dict[str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Session.read({"runtime": runtime, "session": json.dumps(settings)})


def test_a_file_without_settings_is_refused() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        Session.read({})
