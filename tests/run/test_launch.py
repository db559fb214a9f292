"""Workers as jobs, with submitit's executor for this machine: they share a study, hand their trial back, and fail in one line."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from mpsearch.core.errors import ConfigError
from mpsearch.core.progress import Silent
from mpsearch.run import Crew, Launch, run_study
from mpsearch.run.launch import submitted
from mpsearch.study.leases import lease_of
from mpsearch.study.published import find_study
from tests.run.tiny import tiny_study

pytest.importorskip("submitit", reason="the extra slurm is not installed")
PLACE = Path(__file__).parents[2]
LOCAL = Launch(cluster="local", options={})
HERE = {"PYTHONPATH": str(PLACE), "OMP_NUM_THREADS": "1"}


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.slow
def test_a_job_that_fails_is_a_line_with_its_log(tmp_path: Path) -> None:
    heard = Heard()
    with submitted(LOCAL, [["worker", "--storage", "nonsense"]], {**HERE, "SECRET": "s3cret"}, tmp_path, heard, patience=60.0) as jobs:
        assert len(jobs) == 1
    (line,) = heard.lines
    assert line.startswith(f"job {jobs[0].job_id} failed: ")
    assert "the worker ended with code 2" in line
    assert "storage: 'nonsense' cannot be opened" in jobs[0].paths.stderr.read_text()
    assert "SECRET" not in os.environ
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and b"s3cret" in file.read_bytes()]


def test_where_there_is_no_slurm_the_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    launch = Launch(cluster="slurm", options={"partition": "gpu"})
    with (
        pytest.raises(ConfigError, match=r"--launch slurm: no job could be submitted \(.*slurm.*\); mend that") as caught,
        submitted(launch, [["worker"]], HERE, tmp_path, Silent(), patience=0.0),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_an_option_that_sbatch_does_not_have_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"no job could be submitted \(.*pertition.*\)"),
        submitted(Launch(cluster="local", options={"pertition": "gpu"}), [["worker"]], HERE, tmp_path, Silent(), patience=0.0),
    ):
        pass


@pytest.mark.slow
def test_a_job_that_is_told_that_its_time_is_up_hands_its_trial_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the signal that submitit has Slurm send; nobody waits for the lease, and no trial is lost or counted twice."""
    for name, value in HERE.items():
        monkeypatch.setenv(name, value)
    rungs = [{"name": "ptq", "epochs": 0}, {"name": "short", "epochs": 150, "keep": 1.0}]
    study = tiny_study(search={"trials": 4, "rungs": rungs})
    url, told = f"sqlite:///{tmp_path}/trials.db", list[int]()
    ours = threading.Event()

    def tell() -> None:
        while not ours.wait(0.2):
            pids = [pid for pid in _processes() if _is_worker(pid, tmp_path)]
            if pids and not told and _works(url):
                time.sleep(1.0)  # into its training
                told.extend(pids)
                for pid in pids:
                    os.kill(pid, signal.SIGUSR2)

    thread = threading.Thread(target=tell)
    thread.start()
    try:
        crew = Crew(workers=2, lease=600.0, launch=LOCAL)
        summary = run_study(study, tmp_path / "run", "command", Silent(), storage=url, crew=crew)
    finally:
        ours.set()
        thread.join()
    assert told
    logs = "".join(file.read_text() for file in (tmp_path / "run" / "workers" / "jobs").glob("*.err"))
    assert "told to end" in logs
    assert len(summary.trials) == 4
    assert len({trial.allocation for trial in summary.trials}) == 4
    workers = {str(lease_of(trial).get("worker")) for trial in find_study(url, None).trials}
    assert len(workers) == 2


def _works(url: str) -> bool:
    """Whether two workers have trials under way."""
    return len({str(lease_of(trial)["worker"]) for trial in find_study(url, None).trials if lease_of(trial)}) == 2


def _processes() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _is_worker(pid: int, folder: Path) -> bool:
    """Whether a process is the job itself, not what watches over it."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"submitit.core._submit" in command and any(str(folder).encode() in word for word in command)
