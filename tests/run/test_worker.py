"""A worker joins a study from another run directory; one that is not alike is refused with the difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpsearch.config import StudyConfig
from mpsearch.config.study import validate_study
from mpsearch.config.yaml_file import parse_yaml
from mpsearch.core.errors import ConfigError
from mpsearch.core.progress import Silent
from mpsearch.core.summary import Summary
from mpsearch.run import Crew, join, run_study
from mpsearch.run.crew import identity_of
from mpsearch.study.shared_files import SharedFiles
from tests.run.tiny import tiny_study


def read(text: str) -> StudyConfig:
    return validate_study(parse_yaml(text, label="study"), label="study")


class Shared:
    """A study that has ended in a database of its own, and what may be joined of it."""

    def __init__(self, folder: Path, artifacts: str = "") -> None:
        self.folder, self.url = folder, f"sqlite:///{folder}/trials.db"
        self.summary: Summary = run_study(
            tiny_study(),
            folder / "first",
            "command",
            Silent(),
            storage=self.url,
            crew=Crew(lease=5.0, artifacts=artifacts or folder / "shared"),
        )

    def join(self, name: str = "second", artifacts: Path | None = None) -> int:
        return join(self.url, None, read, lambda study: self.folder / name, "command", Silent(), artifacts=artifacts)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    return Shared(tmp_path_factory.mktemp("shared"))


def test_a_study_that_is_shared_ends_as_one_that_is_not(shared: Shared, tmp_path: Path) -> None:
    alone = run_study(tiny_study(), tmp_path / "run", "command", Silent())
    assert [(trial.origin, trial.allocation, trial.scores) for trial in alone.trials] == [
        (trial.origin, trial.allocation, trial.scores) for trial in shared.summary.trials
    ]
    assert (tmp_path / "run" / alone.artifact).read_bytes() == (shared.folder / "first" / alone.artifact).read_bytes()


def test_signals_come_from_the_first_worker(shared: Shared) -> None:
    assert shared.join() == len(shared.summary.trials)
    assert (shared.folder / "second" / "prepared.json").read_bytes() == (shared.folder / "first" / "prepared.json").read_bytes()


def test_signals_travel_by_a_bucket(bucket: str, tmp_path: Path) -> None:
    shared = Shared(tmp_path, bucket)
    assert shared.join() == len(shared.summary.trials)
    assert (tmp_path / "second" / "prepared.json").read_bytes() == (tmp_path / "first" / "prepared.json").read_bytes()
    assert not [*tmp_path.glob("**/artifacts")]
    for name in SharedFiles(bucket).names():
        SharedFiles(bucket).remove(name)
    with pytest.raises(ConfigError, match=rf"artifacts: {bucket} has no whole copy of"):
        shared.join(name="third")


@pytest.mark.parametrize("part", ["weights", "data", "network", "version of torch", "version of mpsearch"])
def test_a_worker_that_differs_is_refused_with_the_difference(part: str, shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpsearch.run.worker.identity_of", lambda setup: {**identity_of(setup), part: "other"})
    with pytest.raises(ConfigError, match=f"worker: this machine has another {part}.* than the study 'tiny-") as caught:
        shared.join(name="other")
    assert "\n" not in str(caught.value)
    assert not (shared.folder / "other").exists()


def test_a_folder_that_lacks_what_is_shared_is_named(shared: Shared, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"artifacts: .* has no whole copy of .*; pass the folder .* as --artifacts"):
        shared.join(name="third", artifacts=tmp_path / "nothing")


def test_shared_weights_do_not_travel(tmp_path: Path) -> None:
    study = tiny_study(search={"trials": 2, "evaluate": "supernet"})
    with pytest.raises(ConfigError, match=r"shared weights .* do not travel between workers"):
        run_study(study, tmp_path / "run", "command", Silent(), crew=Crew(workers=2))
    assert not (tmp_path / "run").exists()
