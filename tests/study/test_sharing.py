"""Real worker processes on one study: killed, stopped for longer than a lease and woken, or left alone; every trial counts once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from mpsearch.study.leases import first_successors
from mpsearch.study.records import StoredRecords
from mpsearch.study.storage import end_of, open_study
from tests.problems import small_problem
from tests.storages import EVERY, url_of

TRIALS = 6
Start = Callable[..., "subprocess.Popen[str]"]


def slow(*kinds: str) -> list[object]:
    """Every kind of storage, these only in the slow run."""
    return [pytest.param(kind, marks=[pytest.mark.slow] if kind in kinds else []) for kind in EVERY]


OTHERS_SLOW = slow(*EVERY[1:])
"""Each case starts processes that import torch."""


@pytest.fixture(params=OTHERS_SLOW)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_of(request.param, request, tmp_path)


@pytest.fixture
def start(url: str) -> Iterator[Start]:
    """Starts a worker; whatever is still alive in the end is killed."""
    open_study(url, "s")
    started: list[subprocess.Popen[str]] = []

    def begin(name: str, *, lease: float = 3.0, seconds: float = 0.1) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.study.workers", url, name, str(lease), str(seconds), str(TRIALS)]
        place = str(Path(__file__).parents[2])
        environment = {**os.environ, "PYTHONPATH": place, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until_scoring(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line == "scoring\n":
            return
    pytest.fail("it ended before it began a trial")


def ended(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def check(url: str) -> optuna.Study:
    """Every trial is recorded once, no bits are measured twice, nothing is left behind."""
    study = open_study(url, "s")
    counted = [trial for trial in study.trials if trial.number not in first_successors(study.trials)]
    records = StoredRecords(small_problem().space.names).of(counted)
    assert len(records) == TRIALS
    assert Counter(record.allocation for record in records).most_common(1)[0][1] == 1
    assert all(record.status == "complete" for record in records)
    assert not [trial for trial in study.trials if trial.state == TrialState.RUNNING]
    assert end_of(study) == f"{TRIALS} trials are done"
    return study


def test_workers_share_the_trials_of_a_study(url: str, start: Start) -> None:
    workers = [start(name) for name in ("a", "b", "c")]
    for worker in workers:
        ended(worker)
    study = check(url)
    assert len({trial.user_attrs["lease"]["worker"] for trial in study.trials}) >= 2


@pytest.mark.parametrize("url", slow("mysql", "grpc"), indirect=True)
def test_what_a_killed_worker_had_under_way_is_taken_over(url: str, start: Start) -> None:
    doomed = start("doomed", seconds=1000.0)
    until_scoring(doomed)
    doomed.kill()
    assert "takes over trial 0, whose worker is gone" in ended(start("other"))
    study = check(url)
    first, second = study.trials[0], study.trials[first_successors(study.trials)[0]]
    assert (first.state, second.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert second.user_attrs["bits"] == first.user_attrs["bits"]


def test_a_worker_that_was_stopped_for_longer_than_a_lease_overwrites_nothing(url: str, start: Start) -> None:
    late = start("late", seconds=5.0)
    until_scoring(late)
    late.send_signal(signal.SIGSTOP)
    ended(start("other"))
    study = check(url)
    successor = study.trials[first_successors(study.trials)[0]]
    late.send_signal(signal.SIGCONT)
    assert "trial 0 was taken over by another worker; its result here does not count" in ended(late)
    after = check(url)
    assert "record" not in after.trials[0].user_attrs
    assert after.trials[successor.number].user_attrs["record"] == successor.user_attrs["record"]


def test_a_worker_that_comes_back_under_its_name_waits_for_no_lease(url: str, start: Start) -> None:
    doomed = start("me", lease=3600.0, seconds=1000.0)
    until_scoring(doomed)
    doomed.kill()
    assert "trial 1 takes over trial 0" in ended(start("me", lease=3600.0))
    check(url)


def test_a_worker_that_is_told_to_end_hands_its_training_back(tmp_path: Path) -> None:
    """The heir continues it at the step after, without waiting for the lease, and ends with what one worker alone gets."""
    place, ends = str(Path(__file__).parents[2]), list[object]()
    for kind in ("alone", "told"):
        folder = tmp_path / kind
        folder.mkdir()
        url = f"sqlite:///{folder}/trials"
        open_study(url, "s")

        def start(name: str, seconds: float, url: str = url, folder: Path = folder) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "tests.study.workers", url, name, "3600", str(seconds), "2", str(folder)]
            environment = {**os.environ, "PYTHONPATH": place, "OMP_NUM_THREADS": "1"}
            pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            return subprocess.Popen(command, cwd=place, env=environment, **pipe)  # type: ignore[call-overload]

        if kind == "told":
            first = start("first", 0.5)
            assert first.stdout is not None
            assert any("short 2/" in line for line in first.stdout)
            first.terminate()
            output, _ = first.communicate(timeout=300)
            assert "trial 0 is handed back" in output
            assert first.returncode != 0
        output, _ = start("second", 0.0).communicate(timeout=300)
        assert ("trial 1 takes over trial 0" in output) == (kind == "told"), output
        assert ("short 1/" in output) == (kind == "alone"), "what was trained is not trained again"
        study = open_study(url, "s")
        records = StoredRecords(small_problem().space.names).of(study.trials)
        ends.append([(record.allocation, record.scores, record.curve) for record in records])
    assert ends[0] == ends[1]
