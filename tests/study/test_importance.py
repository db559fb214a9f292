"""Which layer's choice matters: told from trials in which one alone does."""

from __future__ import annotations

from itertools import product

import optuna
import pytest

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.record import Record, Score
from mpsearch.study.importance import bits_importance


def record(number: int, bits: dict[str, int], error: float) -> Record:
    allocation = Allocation({name: Choice(each) for name, each in bits.items()})
    score = Score(loss=error, error=error, metric=1 - error)
    return Record(number=number, origin="ei", allocation=allocation, scores={"ptq": score}, rung="ptq", costs={"size": 1.0})


def records() -> list[Record]:
    """Of `first`, `second`, its twin and `still`, the error follows `first`, and a little of `second`."""
    drawn = enumerate(product((2, 4, 8), (2, 4, 8)))
    return [record(n, {"first": a, "second": b, "twin": b, "still": 8}, 1 / a + 0.01 / b) for n, (a, b) in drawn]


def test_the_layer_that_decides_the_error_is_first() -> None:
    study = bits_importance(records())
    assert study is not None
    shares = optuna.importance.get_param_importances(study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0))
    assert [*shares] == ["first", "second +1"]
    assert shares["first"] > 0.9


@pytest.mark.parametrize("few", [0, 7])
def test_few_trials_say_nothing(few: int) -> None:
    assert bits_importance(records()[:few]) is None


def test_one_layer_that_changes_says_nothing() -> None:
    assert bits_importance([record(n, {"first": 2 + n % 2, "still": 8}, 0.1) for n in range(9)]) is None
