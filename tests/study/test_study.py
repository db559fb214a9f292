"""Trials come from Optuna's storage: numbers, records, and the end of the study; interrupted or not, the same bits get the same scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from mpsearch.core.errors import RunDirectoryError
from mpsearch.core.record import Record
from mpsearch.study.study import STUDY, run_trials
from mpsearch.study.study_sampler import bits_sampler
from mpsearch.training.compiled import Compiler
from mpsearch.trials.evaluator import Evaluator
from tests.problems import small_problem, small_settings

TRIALS = 6


def ran(storage: str, trials: int = TRIALS, seconds: float | None = None, **named: Any) -> list[Record]:
    problem, settings = small_problem(), small_settings(trials)
    settings = replace(settings, stopping=replace(settings.stopping, seconds=seconds))
    sampler = bits_sampler(problem, [], (1.0, 1.0), stopping=settings.stopping, refine=0.25, rungs=settings.rungs)
    return run_trials(Evaluator(problem, Compiler("off", problem.device)), sampler, settings, storage, **named)


def essence(records: list[Record]) -> list[Any]:
    return [(record.origin, record.allocation, record.scores, record.curve) for record in records]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    return ran(f"sqlite:///{tmp_path_factory.mktemp('study')}/study.db")


def test_numbers_are_optunas(undisturbed: list[Record]) -> None:
    assert [record.number for record in undisturbed] == list(range(TRIALS))
    assert any(record.curve for record in undisturbed), "some trials train"


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
@pytest.mark.parametrize("moment", ["train", "score"])
def test_an_interrupted_study_continues_as_if_it_had_not_been(
    kind: str, moment: str, tmp_path: Path, undisturbed: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whichever step a trial dies, its bits come again, under a new number and with the same seed."""
    storage = f"{kind}:///{tmp_path}/trials"
    genuine, calls = getattr(Evaluator, moment), iter(range(2))

    def dying(self: Evaluator, *arguments: Any, **named: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return genuine(self, *arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Evaluator, moment, dying)
        with pytest.raises(KeyboardInterrupt):
            ran(storage)
    resumed = ran(storage)
    assert essence(resumed) == essence(undisturbed)
    numbers = [record.number for record in resumed]
    assert numbers == sorted(numbers)
    assert len(set(range(TRIALS + 1)) - set(numbers)) == 1, "the number of the trial that died is not given again"


def test_a_record_written_before_the_kill_counts(tmp_path: Path, undisturbed: list[Record], monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the record and Optuna's own end of the trial: it is complete, and no trial is evaluated twice."""
    storage = f"sqlite:///{tmp_path}/study.db"
    end, calls = RDBStorage.set_trial_state_values, iter(range(2))

    def dying(self: RDBStorage, *arguments: Any, **named: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return end(self, *arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(RDBStorage, "set_trial_state_values", dying)
        with pytest.raises(KeyboardInterrupt):
            ran(storage)
    assert essence(ran(storage)) == essence(undisturbed)
    study = optuna.load_study(study_name=STUDY, storage=storage)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * TRIALS
    assert study.trials[2].values == [undisturbed[2].score.error, undisturbed[2].costs["size"] / 300]


def test_a_study_that_has_ended_is_only_read(tmp_path: Path, undisturbed: list[Record]) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    first = ran(storage, trials=2)
    assert ran(storage, trials=TRIALS) == first


def test_studies_of_other_names_share_a_storage(tmp_path: Path) -> None:
    storage = f"journal:///{tmp_path}/trials.log"
    first, second = ran(storage, trials=1, name="one"), ran(storage, trials=2, name="two")
    assert [len(first), len(second)] == [1, 2]
    assert ran(storage, trials=1, name="one") == first


def test_a_study_that_ended_by_its_time_stays_ended(tmp_path: Path) -> None:
    """Whatever the clock says when it goes on: the winner of a killed retraining must not change."""
    storage, clock = f"sqlite:///{tmp_path}/study.db", iter([0.0, 5.0, 60.0])
    first = ran(storage, seconds=60.0, spent=lambda: next(clock))
    assert len(first) == 2
    assert ran(storage, seconds=60.0, spent=lambda: 0.0) == first


def test_what_interrupted_processes_have_spent_counts(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    first = ran(storage, trials=1)
    assert len(first) == 1
    other = f"sqlite:///{tmp_path}/other.db"
    assert len(ran(other, seconds=60.0, spent=lambda: 61.0)) == 1, "one trial is always run"


def test_trials_of_another_network_are_refused(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    first = ran(storage, trials=1, made_from="a network")
    assert ran(storage, trials=1, made_from="a network") == first
    with pytest.raises(RunDirectoryError, match="was begun with another network or data"):
        ran(storage, trials=2, made_from="another")
