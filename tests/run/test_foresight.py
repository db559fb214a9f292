"""The retrained metric is foreseen from the trial's: with what is learned from earlier trainings, and with honest intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mpsearch.core.record import Record, Score
from mpsearch.run.foresight import ENOUGH, SHIPPED, foresee, foreseen, noise_of, recovery
from mpsearch.run.ledger import Ledger
from mpsearch.run.pipeline import run_study
from mpsearch.run.trainings import Training, earlier_trainings
from mpsearch.tasks.task import Task
from tests.problems import small_problem
from tests.run.tiny import Phases, tiny_setup, tiny_study

REFERENCE = Score(loss=0.1, error=0.1, metric=0.9)
NOW = Training(task="classification", metric="accuracy", trained=False, epochs=2, float_error=0.1, before=0.3, after=0.3, noise=0.02)


def trainings(share: float, count: int, seed: int = 0, spread: float = 1.0) -> list[Training]:
    """That give back all but a share of what was lost, with normal noise."""
    random = np.random.default_rng(seed)
    lost = random.uniform(0.0, 0.4, count)
    scale = np.hypot(NOW.noise, 0.3 * lost)
    after = 0.1 + share * lost + spread * scale * random.standard_normal(count)
    return [replace(NOW, before=0.1 + float(before), after=float(end)) for before, end in zip(lost, after, strict=True)]


def test_the_share_is_found_and_the_quantiles_are_those_of_a_normal_distribution() -> None:
    found = recovery(trainings(0.4, 4000))
    assert found.share == pytest.approx(0.4, abs=0.02)
    assert (found.low, found.high) == pytest.approx((-1.645, 1.645), abs=0.1)


def test_intervals_hold_nine_of_ten_new_trainings_however_few_were_seen() -> None:
    held: list[bool] = []
    for seed in range(200):
        *earlier, new = trainings(0.5, ENOUGH + 1, seed)
        found = foresee(new, REFERENCE, earlier, 0.0)
        held.append(found.low <= 1 - new.after <= found.high)
    assert 0.85 <= np.mean(held) <= 0.95


def test_without_enough_of_its_own_kind_the_shipped_figures_count() -> None:
    few = trainings(1.0, ENOUGH - 1)
    for earlier in ([], few, [replace(each, trained=True) for each in trainings(1.0, 50)]):
        found = foresee(NOW, REFERENCE, earlier, 3.0)
        assert found.metric == pytest.approx(1 - (0.1 + SHIPPED[False].share * 0.2))
        assert "digits" in found.based_on
    enough = foresee(NOW, REFERENCE, trainings(1.0, 50), 3.0)
    assert enough.metric == pytest.approx(0.7, abs=0.05)
    assert enough.based_on == "50 earlier trainings on this machine"
    assert enough.seconds == 3.0


def test_a_metric_that_falls_has_its_ends_in_order() -> None:
    mse = replace(NOW, metric="MSE", task="regression")
    found = foresee(mse, Score(loss=0.1, error=0.1, metric=0.1), [], 0.0)
    assert found.low < found.metric < found.high
    assert found.metric == pytest.approx(0.1 + SHIPPED[False].share * 0.2)


def test_an_accuracy_is_not_foreseen_above_one() -> None:
    assert foresee(replace(NOW, float_error=0.0, before=0.001), Score(loss=0.1, error=0.0, metric=1.0), [], 0.0).high <= 1.0


def test_the_noise_of_an_accuracy_is_binomial_and_never_zero() -> None:
    problem = small_problem()
    assert noise_of(problem, 0.5) == pytest.approx((0.25 / 160) ** 0.5, rel=0.01)
    assert 0 < noise_of(problem, 0.0) < 0.01
    assert noise_of(replace(problem, task=Task.regression()), 2.0) == pytest.approx(2.0 / 160**0.5)


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sequence[str]:
    monkeypatch.setenv("MPSEARCH_CACHE", str(tmp_path / "cache"))
    return []


def test_a_run_foresees_once_tells_what_came_out_and_teaches_the_next(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Told(Phases):
        def say(self, line: str) -> None:
            said.append(line)

    config = tiny_study(retrain={"epochs": 1})
    summary = run_study(config, tmp_path / "run", "mpsearch study", Told())
    assert summary.foresight is not None
    assert [line for line in said if line.startswith("retraining winner and references takes about")]
    (kept,) = earlier_trainings()
    assert kept.after == (summary.searched or summary.winner).score.error
    assert kept.before == min(record.score.error for record in summary.trials if record.feasible)
    again = run_study(config, tmp_path / "run", "mpsearch study", Told())
    assert again.foresight == summary.foresight
    assert earlier_trainings() == [kept]


def test_without_retraining_nothing_is_foreseen(tmp_path: Path, said: list[str]) -> None:
    summary = run_study(tiny_study(), tmp_path / "run", "mpsearch study", Phases())
    assert summary.foresight is None
    assert earlier_trainings() == []


def test_an_error_that_is_no_number_is_not_foreseen(tmp_path: Path) -> None:
    config = tiny_study(retrain={"epochs": 1})
    setup = tiny_setup(config)
    allocation = setup.problem.space.uniform(setup.problem.space.choices[0])
    for error in (math.inf, math.nan):
        score = Score(loss=1.0, error=error, metric=error)
        record = Record(number=0, origin="", allocation=allocation, rung="ptq", scores={"ptq": score}, costs={"size": 1.0})
        assert foreseen(config, setup, [record], Ledger(tmp_path)) is None
