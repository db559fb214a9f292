"""One study and one process per run directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mpsearch.config import StudyConfig
from mpsearch.config.study import validate_study
from mpsearch.core.errors import BudgetError, ConfigError, RunDirectoryError
from mpsearch.run.directory import claim_of, claimed


def config(**changes: object) -> StudyConfig:
    fields = {"name": "s", "data": {"source": "memory"}, "model": {"factory": "m:f"}, "space": {"name": "s", "weights": [2, 4]}}
    return validate_study({**fields, "budgets": ["2KB"], "methods": {"lsq": {}}, "recipe": {}, **changes}, label="")


def test_a_claim_names_the_study_and_the_command(tmp_path: Path) -> None:
    with claimed(tmp_path / "run", config(), "mpsearch study"):
        held = json.loads((tmp_path / "run" / "run.json").read_text())
        assert held.pop("digest")
        assert held == {"fingerprint": config().fingerprint(), "command": "mpsearch study"}
        assert claim_of(tmp_path / "run") == config().fingerprint()
        assert (tmp_path / "run" / "study.yaml").read_text() == config().to_yaml()
    with claimed(tmp_path / "run", config(), "typed otherwise"):
        pass
    with pytest.raises(RunDirectoryError, match=r"holds another study .'mpsearch study'"), claimed(tmp_path / "run", config(seed=1), ""):
        pass


@pytest.mark.parametrize("place", [18, -60, -4])
def test_a_wrong_bit_does_not_make_it_another_study(place: int, tmp_path: Path) -> None:
    with claimed(tmp_path / "run", config(), "mpsearch study"):
        pass
    file = tmp_path / "run" / "run.json"
    whole = bytearray(file.read_bytes())
    whole[place] ^= 16
    file.write_bytes(whole)
    with claimed(tmp_path / "run", config(), "mpsearch study"):
        assert claim_of(tmp_path / "run") == config().fingerprint()


def test_trials_in_another_storage_are_another_run(tmp_path: Path) -> None:
    run, storage = tmp_path / "run", f"sqlite:///{tmp_path}/trials.db"
    for _ in range(2):
        with claimed(run, config(), "first", storage=storage):
            assert claim_of(run) != config().fingerprint()
    assert "trials.db" not in (run / "run.json").read_text(), "a URL may hold a password"
    with pytest.raises(RunDirectoryError, match="holds another study"), claimed(run, config(), "elsewhere"):
        pass


def test_a_storage_that_cannot_be_opened_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be opened"), claimed(tmp_path / "run", config(), "", storage="nonsense"):
        pass
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("error", [ConfigError("no", path="x"), BudgetError("no")])
def test_a_refused_request_removes_what_it_made(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)), claimed(tmp_path / "a" / "b", config(), ""):
        raise error
    assert not any(tmp_path.iterdir())


def test_an_error_after_some_work_keeps_it(tmp_path: Path) -> None:
    with pytest.raises(BudgetError):
        _works_then_fails(tmp_path / "run")
    assert (tmp_path / "run" / "prepared.json").exists()


def _works_then_fails(directory: Path) -> None:
    with claimed(directory, config(), ""):
        (directory / "prepared.json").write_text("{}")
        raise BudgetError("no")


def test_a_killed_process_holds_no_claim(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from tests.run.test_directory import config\n"
        "from mpsearch.run.directory import claimed\n"
        "with claimed(Path(sys.argv[1]), config(), 'killed'): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], check=False, env=environment)
    assert done.returncode == -signal.SIGKILL
    with claimed(tmp_path / "run", config(), "again"):
        pass
