"""The runner says what is wrong with a compiler, and with a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mpsearch.core.errors import ArtifactError, ConfigError
from mpsearch.targets.c.program import FLAGS, CompiledModel, compiler
from tests.targets.c.programs import needs_compiler, written


@pytest.fixture
def file(tmp_path: Path) -> Path:
    written(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval(), torch.randn(2, 4), tmp_path / "model.c")
    return tmp_path / "model.c"


def test_no_compiler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match=r"^no C compiler found .*; install one"):
        compiler()


@needs_compiler
def test_what_does_not_compile_and_what_is_no_file_of_ours(file: Path) -> None:
    with pytest.raises(ArtifactError, match=r"model\.c does not compile: .*-mno-such-flag"):
        CompiledModel(file, [*FLAGS, "-mno-such-flag"])
    file.write_text("int x;")
    with pytest.raises(ArtifactError, match="is no C file of mpsearch"):
        CompiledModel(file)


@needs_compiler
@pytest.mark.parametrize("level", ["-O0", "-Os", "-O3"])
def test_no_level_of_optimisation_finds_anything_to_say(level: str, file: Path) -> None:
    given, expected = CompiledModel(file, [*FLAGS, level]).test_vector()
    assert torch.allclose(CompiledModel(file, [*FLAGS, level])(given[None])[0], expected, rtol=1e-5, atol=1e-6)
