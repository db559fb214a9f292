"""A folder that anybody with a C compiler can use, from a study that was told to write C."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import mpsearch
from mpsearch.cli.export import export
from mpsearch.core.errors import RunDirectoryError
from mpsearch.run import export_run
from mpsearch.targets import TARGETS
from mpsearch.targets.c.program import FLAGS, CompiledModel, compiler
from tests.run.searches import mlp, small
from tests.targets.c.programs import needs_compiler


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> mpsearch.Result:
    return small(tmp_path_factory.mktemp("study"), trials=1, epochs=0, target="c", budget="800B")


@needs_compiler
def test_a_study_under_a_budget_of_flash_ends_in_a_program_that_fits_and_gives_its_outputs(result: mpsearch.Result) -> None:
    assert result.path.name == "model.c"
    flash = TARGETS["c"]().deployed_bytes(result.path)
    assert flash == result.summary.artifact_bytes == result.summary.winner.costs["size"] <= 800 < result.path.stat().st_size
    x = torch.randn(7, 6)
    with torch.no_grad():
        expected = mpsearch.load(result.path, model=mlp())(x)
    assert torch.allclose(CompiledModel(result.path)(x), expected, rtol=1e-5, atol=1e-6)


@needs_compiler
def test_the_exported_folder_compiles_tests_itself_and_answers(result: mpsearch.Result, tmp_path: Path) -> None:
    told = CliRunner().invoke(export, [str(result.run_dir), "--out", str(tmp_path / "deploy")])
    assert told.exit_code == 0, told.output
    folder = tmp_path / "deploy"
    names = ["Makefile", "main.c", "model.c", "model.card.json", "model.card.md", "model.h", "test_vector.h"]
    assert sorted(file.name for file in folder.iterdir()) == names
    assert all(str(folder / name) in told.output for name in names)
    rule = [line.strip() for line in (folder / "Makefile").read_text().splitlines() if line.startswith("\t$(CC)")]
    assert rule == ["$(CC) $(CFLAGS) -DMODEL_TEST_VECTOR -o $@ main.c model.c -lm"]
    build = [compiler(), *FLAGS, "-DMODEL_TEST_VECTOR", "-o", "model", "main.c", "model.c", "-lm"]
    subprocess.run(build, cwd=folder, check=True)
    tested = subprocess.run([folder / "model", "test"], capture_output=True, text=True, check=True)
    assert float(tested.stdout.split()[4]) < 1e-5, tested.stdout
    x = torch.randn(2, 6)
    typed = " ".join(f"{value:.9g}" for value in x.flatten().tolist())
    answers = subprocess.run([folder / "model"], input=typed, capture_output=True, text=True, check=True).stdout
    found = torch.tensor([[float(word) for word in line.split()] for line in answers.splitlines()])
    assert torch.allclose(found, CompiledModel(result.path)(x), rtol=1e-6, atol=0)
    short = subprocess.run([folder / "model"], input="1 2", capture_output=True, text=True, check=False)
    assert (short.returncode, short.stderr) == (1, "the last sample has 2 numbers of 6\n")


def test_a_name_that_ends_in_c_gets_the_file_alone_and_a_file_is_no_folder(result: mpsearch.Result, tmp_path: Path) -> None:
    export_run(result.run_dir, tmp_path / "net.c")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.c", "net.card.json", "net.card.md"]
    (tmp_path / "taken").write_text("")
    with pytest.raises(RunDirectoryError, match=r"taken is a file; give a folder, since model\.c comes with model\.h, main\.c"):
        export_run(result.run_dir, tmp_path / "taken")
