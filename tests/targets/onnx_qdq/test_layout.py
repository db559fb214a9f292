"""A file may ask for few settings of a session; others could load what they name."""

from __future__ import annotations

import json

import pytest

from mpsearch.targets.onnx_qdq.layout import read_settings, written_settings


def test_what_is_written_is_read() -> None:
    for shares, precise in ((False, "1"), (True, "0")):
        settings = read_settings(written_settings(shares_weights=shares))
        assert settings == {"session.disable_quant_qdq": "0", "session.x64quantprecision": precise}


@pytest.mark.parametrize(
    "forged",
    [
        {"session.model_external_initializers_file_folder_path": "/etc"},
        {"session.disable_quant_qdq": "/tmp/x"},
        ["session"],
        "0",
        {"session.x64quantprecision": ["1"]},
    ],
)
def test_others_are_refused(forged: object) -> None:
    with pytest.raises(ValueError, match=r"settings of its session|no file may set"):
        read_settings({"session": json.dumps(forged)})


def test_a_file_without_settings_is_refused() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        read_settings({})
