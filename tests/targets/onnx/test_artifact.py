"""The ONNX file as it is read: changed, foreign and forged files are one line; the runtime's answers have the network's structure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.choice import Choice
from mpsearch.core.errors import ArtifactError, DataError
from mpsearch.core.space import Space
from mpsearch.methods import METHODS
from mpsearch.network.baked import Parts, bake
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.targets import TARGETS, Blueprint
from mpsearch.targets.onnx import layout
from mpsearch.targets.onnx.artifact import OnnxArtifact
from mpsearch.targets.onnx.file import OnnxFile


def read_artifact(path: Path) -> OnnxArtifact:
    return OnnxArtifact(OnnxFile.read(path, layout.VERSION))


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(5, 3)

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.left(a), {"sum": self.left(a) + self.right(b)}


def pair() -> tuple[nn.Module, tuple[Tensor, Tensor], Space]:
    torch.manual_seed(0)
    return Pair(), (torch.randn(6, 4), torch.randn(6, 5)), Space(name="s", weights=(4,))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model, inputs, space = pair()
    resolved = space.resolve(trace(model, inputs))
    network = Network(model, resolved, Calibration.fit(model, resolved, [inputs]), METHODS["lsq"]())
    network.begin(resolved.uniform(Choice(4)))
    parts: Parts = bake(network)
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    TARGETS["onnx"]().writer(Blueprint.of(model, inputs, resolved)).write(path, parts)
    return path


def changed(file: Path, folder: Path, change: Callable[[onnx.ModelProto], None], *, sign: bool) -> Path:
    """A copy with a change; signed, as a forger would, or not."""
    model = onnx.load(str(file))
    change(model)
    if sign:
        entries = {each.key: each.value for each in model.metadata_props}
        next(each for each in model.metadata_props if each.key == "digest").value = layout.file_digest(entries, model.graph)
    path = folder / "changed.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def drop_format(model: onnx.ModelProto) -> None:
    del model.metadata_props[0]


def other_scale(model: onnx.ModelProto) -> None:
    next(each for each in model.graph.initializer if each.name == "W0s").raw_data = bytes(12)


def elsewhere(model: onnx.ModelProto) -> None:
    entry = model.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def other_shape(model: onnx.ModelProto) -> None:
    next(each for each in model.graph.initializer if each.name == "W0s").dims[:] = [1, 3]


def other_outputs(model: onnx.ModelProto) -> None:
    next(each for each in model.metadata_props if each.key == "outputs").value = '{"a": [1]}'


def small_floats(model: onnx.ModelProto) -> None:
    next(each for each in model.graph.initializer if each.name == "W0s").data_type = onnx.TensorProto.FLOAT4E2M1


def no_outputs(model: onnx.ModelProto) -> None:
    next(each for each in model.metadata_props if each.key == "outputs").value = "{"


@pytest.mark.parametrize(
    ("change", "sign", "message"),
    [
        (drop_format, False, "was not written by mpsearch"),
        (other_scale, False, "was changed after it was written"),
        (elsewhere, True, "lies in another file"),
        (no_outputs, True, "describes no model"),
        (other_outputs, True, "its outputs are none of the graph"),
        (small_floats, True, "describes no model"),
    ],
)
def test_changed_files_are_one_line(
    change: Callable[[onnx.ModelProto], None], sign: bool, message: str, file: Path, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match=message):
        read_artifact(changed(file, tmp_path, change, sign=sign))


def test_numbers_that_do_not_fit_are_one_line(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="the file's numbers do not fit this model"):
        read_artifact(changed(file, tmp_path, other_shape, sign=True)).parts(Pair())
    with pytest.raises(ArtifactError, match="layer 'left' is not in this model"):
        read_artifact(file).parts(nn.Linear(4, 3))


def test_the_runtime_answers_in_the_structure_of_the_network(file: Path) -> None:
    artifact, (_, inputs, _) = read_artifact(file), pair()
    first, rest = artifact.executed()(*inputs)
    expected, expected_rest = artifact.install(Pair())(*inputs)
    torch.testing.assert_close(first, expected)
    torch.testing.assert_close(rest["sum"], expected_rest["sum"])


def test_inputs_that_do_not_fit_are_one_line(file: Path) -> None:
    with pytest.raises(DataError, match="ONNX Runtime cannot run these inputs"):
        read_artifact(file).executed()(torch.randn(2, 9), torch.randn(2, 5))


def test_a_graph_that_the_runtime_refuses_is_one_line(file: Path, tmp_path: Path) -> None:
    def unknown(model: onnx.ModelProto) -> None:
        model.graph.node[-1].op_type = "Nothing"

    with pytest.raises(ArtifactError, match="ONNX Runtime refuses the file"):
        read_artifact(changed(file, tmp_path, unknown, sign=True)).executed()
