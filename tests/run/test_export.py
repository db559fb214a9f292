"""`mpsearch export`: the artifact and its card, elsewhere."""

from __future__ import annotations

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
