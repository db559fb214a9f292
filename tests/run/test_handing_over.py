"""A finished run converted: for another target, in a hand-over format, and under a name that is neither."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import mpsearch
from mpsearch.core.errors import UnknownNameError
from mpsearch.run import convert
from tests.run.searches import mlp, small


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("convert")
    small(folder, trials=1, epochs=0)
    return folder / "run"


def test_a_program_for_torch_computes_what_the_run_delivered(run: Path, tmp_path: Path) -> None:
    x, out = torch.randn(8, 6), tmp_path / "net.pt2"
    said = convert(run, out, "pt2", mlp(), x)
    assert said[0] == f"{out}: {out.stat().st_size:,} B, target pt2"
    delivered = mpsearch.load(run / "model.safetensors", model=mlp())
    with torch.no_grad():
        assert torch.equal(torch.export.load(out).module()(x), delivered(x))
    assert torch.equal(mpsearch.load(out, model=mlp())(x), delivered(x))


def test_a_hand_over_format_is_written_and_counts_against_no_budget(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.onnx"
    assert convert(run, out, "qonnx", mlp(), torch.randn(8, 6)) == [f"{out}: {out.stat().st_size:,} B, hand-over format qonnx"]
    assert [each.name for each in tmp_path.iterdir()] == ["net.onnx"]


def test_a_name_that_is_neither_is_told_what_there_is(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown target 'tflite'; known: .*onnx.*packed.*pt2.*qonnx"):
        convert(run, tmp_path / "net", "tflite", mlp(), torch.randn(8, 6))
    assert not list(tmp_path.iterdir())
