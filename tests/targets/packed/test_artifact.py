"""Files that are not what they should be: one clear line, and nothing of them is ever executed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import mpsearch
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ArtifactError, ModelError
from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.core.space import Space
from mpsearch.methods import METHODS
from mpsearch.network.baked import bake, install
from mpsearch.network.batchnorm import reestimate
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.description import compress, decompress
from mpsearch.targets.packed import layout
from mpsearch.targets.packed.artifact import read_artifact
from mpsearch.targets.packed.write import PackedWriter
from tests.networks import Depthwise, SharedModule, trained_statistics


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model, x = trained_statistics(Depthwise()), torch.randn(4, 1, 8, 8)
    blueprint = Blueprint(architecture=model, inputs=x, model="someone:factory", options={"a": 1}, layers=trace(model, x))
    space = Space(name="s", weights=(2, 8)).resolve(blueprint.layers, file_overhead=PackedWriter(blueprint).overhead_bytes)
    network = Network(model, space, Calibration.fit(model, space, []), METHODS["lsq"]())
    network.begin(space.uniform(Choice(2)))
    path = tmp_path / "model.safetensors"
    PackedWriter(blueprint).write(path, bake(network))
    return path


def test_every_truncation_is_refused(artifact: Path) -> None:
    whole = artifact.read_bytes()
    for length in range(0, len(whole), 37):
        artifact.write_bytes(whole[:length])
        with pytest.raises(ArtifactError):
            read_artifact(artifact)


def test_every_flipped_byte_is_noticed(artifact: Path) -> None:
    whole = bytearray(artifact.read_bytes())
    header = 8 + int.from_bytes(whole[:8], "little")
    for position in range(header, len(whole), 11):
        damaged = whole.copy()
        damaged[position] ^= 0x10
        artifact.write_bytes(damaged)
        with pytest.raises(ArtifactError, match="changed after it was written"):
            read_artifact(artifact)


def test_changed_bits_are_noticed(artifact: Path) -> None:
    whole = artifact.read_bytes()
    changed = whole.replace(b'"bits":"2--', b'"bits":"8--')
    assert changed != whole
    artifact.write_bytes(changed)
    with pytest.raises(ArtifactError, match="changed after it was written"):
        read_artifact(artifact)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no artifact at"):
        mpsearch.load(tmp_path / "none.safetensors")


def test_somebody_elses_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(3)}, tmp_path / "x.safetensors")
    with pytest.raises(ArtifactError, match="no mpsearch artifact"):
        mpsearch.load(tmp_path / "x.safetensors")


def test_a_factory_in_the_file_is_never_called(artifact: Path) -> None:
    with pytest.raises(ArtifactError, match=r"'someone:factory', which mpsearch does not build by itself; call load\(path, model"):
        mpsearch.load(artifact)


def test_a_forged_file_cannot_name_code(artifact: Path, tmp_path: Path) -> None:
    """With a file_digest that fits: the reference is data, not something to import."""
    whole = artifact.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    entries = json.loads(whole[8 : 8 + length])
    plain = decompress(entries["__metadata__"]["model"])
    plain["model"] = "os:abort"
    metadata = {**entries.pop("__metadata__"), "model": compress(plain)}
    body = whole[8 + length :]
    tensors = {name: body[slice(*entry["data_offsets"])] for name, entry in entries.items()}
    metadata["digest"] = layout.file_digest(metadata, tensors)
    text = json.dumps({"__metadata__": metadata, **entries}).encode()
    text += b" " * (-len(text) % 8)
    forged = tmp_path / "forged.safetensors"
    forged.write_bytes(len(text).to_bytes(8, "little") + text + body)
    with pytest.raises(ArtifactError, match="'os:abort', which mpsearch does not build by itself"):
        mpsearch.load(forged)


def test_another_architecture_is_refused(artifact: Path) -> None:
    with pytest.raises(ArtifactError, match="is not in this model; give the model it was made from"):
        mpsearch.load(artifact, model=SharedModule())
    wider = Depthwise()
    wider.head = torch.nn.Linear(16, 11)
    with pytest.raises(ArtifactError, match="give the model it was made from"):
        mpsearch.load(artifact, model=wider)


def test_loaded_network_is_plain_frozen_and_in_evaluation_mode(artifact: Path) -> None:
    model = mpsearch.load(artifact, model=Depthwise())
    assert type(model.stem) is torch.nn.Conv2d
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_no_pickle_anywhere(artifact: Path) -> None:
    import pickletools

    whole = artifact.read_bytes()
    assert b"pickle" not in whole
    with pytest.raises(ValueError):  # noqa: PT011
        list(pickletools.genops(whole))


def test_buffers_of_every_kind_come_back(tmp_path: Path) -> None:
    """Rotary embeddings are complex; half precision is held as float32; an empty buffer takes no bytes."""
    torch.manual_seed(0)
    model, x = trained_statistics(Depthwise()), torch.randn(4, 1, 8, 8)
    buffers = {
        "rotary": torch.polar(torch.ones(2, 3), torch.randn(2, 3)),
        "halves": torch.randn(3).half(),
        "brain": torch.randn(3).bfloat16(),
        "index": torch.arange(5),
        "mask": torch.tensor([True, False]),
        "empty": torch.empty(0, dtype=torch.int64),
        "doubles": torch.randn((), dtype=torch.float64),
    }
    for name, buffer in buffers.items():
        model.register_buffer(name, buffer)
    blueprint = Blueprint(architecture=model, inputs=x, layers=trace(model, x))
    space = Space(name="s", weights=(2, 8)).resolve(blueprint.layers, file_overhead=PackedWriter(blueprint).overhead_bytes)
    network = Network(model, space, Calibration.fit(model, space, []), METHODS["lsq"]())
    network.begin(space.uniform(Choice(2)))
    size = PackedWriter(blueprint).write(tmp_path / "model.safetensors", bake(network))
    assert size == space.file_overhead + sum(layout.layer_bytes(layer, NumberFormat("uniform", 2), FLOAT) for layer in space.layers)
    blank = Depthwise()
    for name, buffer in buffers.items():
        blank.register_buffer(name, torch.zeros_like(buffer))
    loaded = mpsearch.load(tmp_path / "model.safetensors", model=blank)
    assert all(torch.equal(loaded.get_buffer(name), buffer) for name, buffer in buffers.items())


def test_a_buffer_no_file_can_hold_is_said_before_anything_is_trained() -> None:
    model = Depthwise()
    model.register_buffer("odd", torch.zeros(2, dtype=torch.uint16))
    with pytest.raises(ModelError, match=r"'odd' is torch\.uint16, which no artifact can hold"):
        _ = PackedWriter(Blueprint(architecture=model, inputs=None, layers=())).overhead_bytes


def test_a_layer_that_takes_off_a_large_mean_is_exact(tmp_path: Path) -> None:
    """An input of 20,000 ± 7 makes a folded bias of thousands of standard deviations, with a spacing of two in half precision."""
    torch.manual_seed(0)
    model = trained_statistics(torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 2)))
    x = torch.randn(64, 6)
    x[:, 0] = 20_000 + 7 * x[:, 0]
    with torch.no_grad():
        reestimate(model.eval(), [x])
    layers = trace(model, x)
    assert [layer.wide for layer in layers] == [True, False]
    blueprint = Blueprint(architecture=model, inputs=x, layers=layers)
    menu = tuple(map(NumberFormat.parse, ("8", "m3", "t", "float")))
    space = Space(name="s", weights=menu).resolve(layers, file_overhead=PackedWriter(blueprint).overhead_bytes)
    for choice in space.choices:
        method = METHODS["alq"]() if "m" in str(choice) else METHODS["lsq"]()
        network = Network(model, space, Calibration.fit(model, space, [x]), method)
        network.begin(space.uniform(choice))
        with torch.no_grad():
            reestimate(network.model.eval(), [x])
            trained = network.model(x)
            parts = bake(network)
            path = tmp_path / f"{choice}.safetensors"
            size = PackedWriter(blueprint).write(path, parts)
            stored = [part.weight_format for part in parts.layers.values()]
            assert size == space.file_overhead + sum(map(layout.layer_bytes, layers, stored, [FLOAT, FLOAT]))
            loaded = read_artifact(path).install(model)
            assert torch.equal(loaded(x), install(model, layers, parts)(x))
            assert (loaded(x) - trained).std() < 2e-3 * trained.std()


@pytest.mark.parametrize("wide", [[7], [True], [0.0], "0", [-1]])
def test_wide_layers_that_are_none_are_refused(artifact: Path, wide: object) -> None:
    whole = artifact.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header, body = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    metadata = header["__metadata__"]
    metadata["model"] = compress({**decompress(metadata["model"]), "wide": wide})
    parts = {name: body[slice(*entry["data_offsets"])] for name, entry in header.items() if name != "__metadata__"}
    metadata["digest"] = layout.file_digest(metadata, parts)
    text = json.dumps(header).encode()
    artifact.write_bytes(len(text).to_bytes(8, "little") + text + body)
    with pytest.raises(ArtifactError, match="wide layers"):
        read_artifact(artifact)


def test_a_file_that_changes_after_it_was_checked_is_not_read(artifact: Path) -> None:
    found = read_artifact(artifact)
    found.install(Depthwise())
    artifact.write_bytes(artifact.read_bytes() + b" ")
    with pytest.raises(ArtifactError, match="was changed while it was read; read it again"):
        found.install(Depthwise())
    artifact.unlink()
    with pytest.raises(ArtifactError, match="cannot be read any more"):
        found.parts(Depthwise())


def test_a_loaded_network_has_no_memory_in_common_with_the_architecture(artifact: Path) -> None:
    architecture = Depthwise()
    own = {tensor.data_ptr() for tensor in architecture.state_dict().values()}
    assert not own & {tensor.data_ptr() for tensor in read_artifact(artifact).install(architecture).state_dict().values()}
