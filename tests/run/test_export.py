"""`mpsearch export`: the artifact and its card, elsewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import mpsearch
from mpsearch.cli.export import export
from mpsearch.core.errors import RunDirectoryError
from mpsearch.run import export_run
from tests.run.searches import mlp, small


def test_artifact_and_card_go_together(tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = small(tmp_path, trials=1, epochs=0)
    out = tmp_path / "elsewhere" / "net.safetensors"
    told = CliRunner().invoke(export, [str(run), "--out", str(out)])
    assert told.exit_code == 0, told.output
    assert f"{out}: {result.path.stat().st_size:,} B" in told.output
    assert out.read_bytes() == result.path.read_bytes()
    for name in ("card.md", "card.json"):
        assert (out.parent / f"net.{name}").read_text() == (run / name).read_text()
    assert sorted(file.name for file in out.parent.iterdir()) == ["net.card.json", "net.card.md", "net.safetensors"]
    mpsearch.load(out, model=mlp())


def test_a_run_without_a_card_is_exported_without_and_leaves_no_other_card_beside(tmp_path: Path) -> None:
    small(tmp_path, trials=1, epochs=0)
    export_run(tmp_path / "run", tmp_path / "net.safetensors")
    for name in ("card.md", "card.json"):
        (tmp_path / "run" / name).unlink()
    assert export_run(tmp_path / "run", tmp_path / "net.safetensors") == [tmp_path / "net.safetensors"]
    assert not list(tmp_path.glob("net.card.*"))


def test_what_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="holds no finished run"):
        export_run(tmp_path, tmp_path / "net.safetensors")
    small(tmp_path, trials=1, epochs=0)
    (tmp_path / "run" / "summary.json").unlink()  # as after a kill between the artifact and the end
    with pytest.raises(RunDirectoryError, match=r"holds no finished run .there is no summary\.json"):
        export_run(tmp_path / "run", tmp_path / "net.safetensors")
    assert not (tmp_path / "net.safetensors").exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    small(folder, trials=1, epochs=0)
    return folder / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def refused(run: Path, told: str) -> None:
    with pytest.raises(RunDirectoryError, match=told):
        export_run(run, run.parent / "net.safetensors")
    assert not list(run.parent.glob("net.*"))


@pytest.mark.parametrize("name", ["model.safetensors", "card.md", "card.json", "summary.json"])
def test_no_link_is_followed(name: str, run: Path) -> None:
    (run / name).replace(run.parent / name)
    (run / name).symlink_to(run.parent / name)
    refused(run, rf"{re.escape(name)} is a link; remove it")


def test_a_card_without_end_is_not_read(run: Path) -> None:
    with (run / "card.md").open("wb") as file:
        file.truncate(5 << 30)
    refused(run, r"card\.md has 5,368,709,120 bytes, where at most")
    (run / "card.md").unlink()
    os.mkfifo(run / "card.md")
    refused(run, r"card\.md is no file")


def test_the_artifact_is_a_file_of_the_run(run: Path) -> None:
    other = shutil.copy(run / "model.safetensors", run.parent / "other.safetensors")
    plain = json.loads((run / "summary.json").read_text())
    for name in (str(other), "../other.safetensors", 7, "a\0b"):
        (run / "summary.json").write_text(json.dumps({**plain, "artifact": name}))
        refused(run, "summary.json is damaged")
    (run / "summary.json").write_text(json.dumps({**plain, "artifact": "gone.safetensors"}))
    refused(run, r"there is no gone\.safetensors")


@pytest.mark.parametrize("content", [b"{", b"{}", b"[" * 200_000, b"\xff\xfe"], ids=["half", "empty", "deep", "bytes"])
def test_a_damaged_summary_is_one_line(content: bytes, run: Path) -> None:
    (run / "summary.json").write_bytes(content)
    refused(run, r"summary\.json is damaged")
