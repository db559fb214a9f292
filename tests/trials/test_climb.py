"""One trial, rung by rung: its record is whole whether it stops, is promoted or fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mpsearch.core.choice import Choice
from mpsearch.core.errors import TrainingDiverged
from mpsearch.core.record import Record, Score, Trial
from mpsearch.training.compiled import Compiler
from mpsearch.trials.climb import best_record, evaluate_trial, trial_seed
from mpsearch.trials.evaluator import Evaluator
from tests.problems import small_problem, small_settings


def climbed(bits: int, records: tuple[Record, ...] = (), number: int = 7, **named: Any) -> Record:
    problem, settings = small_problem(), small_settings(1)
    trial = Trial(number=number, origin="ei", allocation=problem.space.uniform(Choice(bits)))
    evaluator = Evaluator(problem, Compiler("off", problem.device))
    return evaluate_trial(evaluator, settings.rungs, settings.default, records, trial, lambda: settings.default, seed=1, **named)


def test_the_first_trial_takes_every_rung() -> None:
    record = climbed(2)
    assert (record.number, record.origin, record.status, record.rung) == (7, "ei", "complete", "short")
    assert list(record.scores) == ["ptq", "short"]
    assert record.params == {"method": "lsq"}
    assert len(record.curve) == 1
    assert record.costs == small_problem().amounts(record.allocation, small_settings(1).default.method)
    assert record.feasible == (record.costs["size"] <= 300)


def test_a_trial_that_is_not_promoted_has_no_hyperparameters() -> None:
    first = climbed(2)
    better = replace(
        first, rung="ptq", allocation=small_problem().space.uniform(Choice(1)), scores={"ptq": Score(loss=0.0, error=0.0, metric=1.0)}
    )
    stopped = climbed(2, (better,))
    assert (stopped.rung, stopped.status) == ("ptq", "complete")
    assert stopped.params == {}
    assert stopped.curve == ()
    assert climbed(2, (better,), to_the_top=True).rung == "short"


def test_a_score_without_training_is_taken_from_an_earlier_trial_of_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    first = climbed(2)
    monkeypatch.delattr(Evaluator, "untrained")
    again = climbed(2, (first,), number=8, to_the_top=True)
    assert again.scores == first.scores


def test_a_trial_that_diverges_keeps_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverging(self: Evaluator, *arguments: Any, **named: Any) -> Any:
        raise TrainingDiverged("the training loss is nan")

    monkeypatch.setattr(Evaluator, "train", diverging)
    record = climbed(2)
    assert (record.status, record.rung, record.note) == ("failed", "ptq", "the training loss is nan")
    assert list(record.scores) == ["ptq"]
    assert record.params == {"method": "lsq"}
    assert best_record([record]) is None


def test_seeds_are_those_of_trials_that_ended_and_of_references() -> None:
    assert [trial_seed(small_problem(), ordinal) for ordinal in (-1, 0, 5)] == [0, 1, 6]
