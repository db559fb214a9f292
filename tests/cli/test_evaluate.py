"""A downloaded folder runs no code that the command line does not name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from mpsearch.cli import main
from mpsearch.core.progress import Silent
from mpsearch.run import run_study
from tests.run.tiny import tiny_study

MODEL = "tests.run.tiny:digits_net"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "run"
    run_study(tiny_study(search={"trials": 1}), directory, "command", Silent())
    return directory


@pytest.fixture
def downloaded(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "downloaded")


def named(folder: Path, factory: str, **options: str) -> None:
    study = yaml.safe_load((folder / "study.yaml").read_text())
    study["model"] = {"factory": factory, "options": options}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))


def test_a_run_of_ones_own_is_evaluated(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(made / "model.safetensors")]) == 0
    assert "test metric" in capsys.readouterr().out


def test_the_code_of_a_downloaded_run_waits_for_a_word(downloaded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact = str(downloaded / "model.safetensors")
    assert main(["evaluate", artifact]) == 2
    assert f"names the code '{MODEL}', and you did not make that run on this machine" in capsys.readouterr().err
    assert main(["evaluate", artifact, "--trust"]) == 0
    assert main(["evaluate", artifact, "--model", MODEL]) == 0


def test_a_downloaded_run_is_converted_after_the_same_word(downloaded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = downloaded / "net.onnx"
    assert main(["export", str(downloaded), "--target", "onnx", "--out", str(out)]) == 2
    assert f"names the code '{MODEL}', and you did not make that run on this machine" in capsys.readouterr().err
    assert not out.exists()
    assert main(["export", str(downloaded), "--target", "onnx", "--out", str(out), "--trust"]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: {out.stat().st_size:,} B, target onnx")
    assert main(["export", str(downloaded), "--target", "nothing", "--out", str(out), "--trust"]) == 2
    assert "unknown target 'nothing'; known: " in capsys.readouterr().err


@pytest.mark.parametrize("flags", [[], ["--trust"]])
def test_no_shell_command_is_run(downloaded: Path, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named(downloaded, "subprocess:getoutput", cmd=f"touch {tmp_path / 'pwned'}")
    assert main(["evaluate", str(downloaded / "model.safetensors"), *flags]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("text", ["open('pwned', 'w')", "def make():\n    open('pwned', 'w')"])
def test_no_module_beside_the_artifact_is_imported(
    text: str, downloaded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (downloaded / "evil_module.py").write_text(text)
    named(downloaded, "evil_module:make")
    monkeypatch.chdir(downloaded)
    assert main(["evaluate", "model.safetensors"]) == 2
    assert "you did not make that run" in capsys.readouterr().err
    assert not (downloaded / "pwned").exists()


def test_a_changed_study_of_ones_own_run_is_a_strangers(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (made / "study.yaml").read_text()
    try:
        named(made, "torch.hub:load", repo_or_dir="x")
        assert main(["evaluate", str(made / "model.safetensors")]) == 2
        assert "you did not make that run" in capsys.readouterr().err
    finally:
        (made / "study.yaml").write_text(text)


def test_a_named_study_may_call_networks_alone(downloaded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named(downloaded, "torch.hub:load", repo_or_dir="x", model="y")
    assert main(["evaluate", str(downloaded / "model.safetensors"), "--study", str(downloaded / "study.yaml")]) == 2
    assert "does not declare to return a network" in capsys.readouterr().err
