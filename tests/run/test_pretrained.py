"""A network in a folder: written, read bit for bit; damage, strangers' folders and links are one line."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch

import mpsearch
from mpsearch.core.errors import ArtifactError, ConfigError, MpsearchError, RunDirectoryError
from tests.run.searches import mlp, small


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> mpsearch.Result:
    return small(tmp_path_factory.mktemp("search"), trials=1, epochs=0)


@pytest.fixture
def saved(result: mpsearch.Result, tmp_path: Path) -> Path:
    return result.save_pretrained(tmp_path / "net")


def test_there_and_back_gives_the_same_outputs_bit_for_bit(result: mpsearch.Result, saved: Path, tmp_path: Path) -> None:
    x = torch.randn(64, 6)
    moved = shutil.move(saved, tmp_path / "elsewhere")
    for folder in (moved, str(moved)):
        network = mpsearch.from_pretrained(folder, model=mlp())
        assert not network.training
        assert torch.equal(network(x), result.model(x))


def test_the_folder_says_what_it_is(result: mpsearch.Result, saved: Path) -> None:
    assert sorted(file.name for file in saved.iterdir()) == ["README.md", "card.json", "card.md", "config.json", "model.safetensors"]
    config = json.loads((saved / "config.json").read_text())
    assert config["quantization"]["bits"] == result.allocation.to_dict()
    assert config["artifact"]["bytes"] == result.path.stat().st_size == result.summary.artifact_bytes
    assert (saved / "README.md").read_text().startswith("---\nlibrary_name: ")
    assert "mpsearch.search(…)" in (saved / "README.md").read_text()


def test_the_architecture_is_asked_for_where_it_cannot_be_built(saved: Path) -> None:
    with pytest.raises(ArtifactError, match=r"call from_pretrained\(path, model=…\)"):
        mpsearch.from_pretrained(saved)


def test_a_folder_of_ours_is_renewed_and_anothers_is_left_alone(result: mpsearch.Result, saved: Path, tmp_path: Path) -> None:
    (saved / "mine.txt").write_text("mine")
    config = json.loads((saved / "config.json").read_text())
    config["artifact"]["file"] = "old.safetensors"
    (saved / "config.json").write_text(json.dumps(config))
    (saved / "old.safetensors").write_bytes(b"")
    assert result.save_pretrained(saved) == saved
    assert (saved / "mine.txt").read_text() == "mine"
    assert not (saved / "old.safetensors").exists()
    mpsearch.from_pretrained(saved, model=mlp())
    other = tmp_path / "other"
    other.mkdir()
    (other / "README.md").write_text("by hand")
    with pytest.raises(RunDirectoryError, match=r"holds README\.md, which mpsearch has not written"):
        result.save_pretrained(other)
    (other / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(RunDirectoryError, match=r"holds config\.json, which mpsearch has not written"):
        result.save_pretrained(other)
    assert sorted(file.name for file in other.iterdir()) == ["README.md", "config.json"]
    with pytest.raises(RunDirectoryError, match=r"is a file; give a folder"):
        result.save_pretrained(saved / "mine.txt")


CONFIGS = {
    "empty": "",
    "no JSON": "{",
    "a list": "[]",
    "deep": "[" * 100_000,
    "bert": '{"model_type": "bert"}',
    "later": '{"library_name": "mpsearch", "format": 2}',
    "no artifact": '{"library_name": "mpsearch", "format": 1}',
    "leaves": '{"library_name": "mpsearch", "format": 1, "artifact": {"file": "../x", "sha256": "%s"}}' % ("0" * 64),
    "no digest": '{"library_name": "mpsearch", "format": 1, "artifact": {"file": "model.safetensors", "sha256": 5}}',
    "another digest": '{"library_name": "mpsearch", "format": 1, "artifact": {"file": "model.safetensors", "sha256": "%s"}}' % ("0" * 64),
    "missing": '{"library_name": "mpsearch", "format": 1, "artifact": {"file": "x.safetensors", "sha256": "%s"}}' % ("0" * 64),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_forged_configuration_is_one_line(config: str, saved: Path) -> None:
    (saved / "config.json").write_text(config)
    with pytest.raises(ArtifactError) as caught:
        mpsearch.from_pretrained(saved, model=mlp())
    assert "\n" not in str(caught.value)


def test_damage_and_what_is_no_folder_are_one_line(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    link = tmp_path / "link"
    shutil.copytree(saved, link)
    (link / "model.safetensors").unlink()
    (link / "model.safetensors").symlink_to(saved / "model.safetensors")
    for place, said in (
        (tmp_path / "nothing", r"holds no config\.json"),
        (tmp_path / "missing", "there is no folder"),
        (saved / "config.json", r"is a file; give the folder .* or call mpsearch\.load"),
        (link, "is a link out of its folder"),
    ):
        with pytest.raises(ArtifactError, match=said):
            mpsearch.from_pretrained(place, model=mlp())
    file = saved / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"is not the file that its config\.json names"):
        mpsearch.from_pretrained(saved, model=mlp())


def test_a_repository_of_the_hub_is_read_from_its_cache(
    saved: Path, result: mpsearch.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if importlib.util.find_spec("huggingface_hub") is None:
        with pytest.raises(ConfigError, match=r"needs huggingface_hub; pip install 'mpsearch\[hub\]'"):
            mpsearch.from_pretrained("owner/net", model=mlp())
        return
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(MpsearchError, match="could not be fetched from the Hub"):
        mpsearch.from_pretrained("owner/none", model=mlp())
    repository, commit = tmp_path / "hub" / "models--owner--net", "0" * 40
    for folder in ("refs", "blobs", f"snapshots/{commit}"):
        (repository / folder).mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    for file in saved.iterdir():  # the cache keeps contents beside its snapshots, which link to them
        shutil.copyfile(file, repository / "blobs" / file.name)
        (repository / "snapshots" / commit / file.name).symlink_to(Path("..", "..", "blobs", file.name))
    x = torch.randn(8, 6)
    assert torch.equal(mpsearch.from_pretrained("owner/net", model=mlp())(x), result.model(x))
