"""The whole way from a study to a summary, with a search and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpsearch.config import load_bits
from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import BudgetError
from mpsearch.core.progress import Silent
from mpsearch.run import retrain, run_study
from mpsearch.run.ledger import Ledger
from mpsearch.run.pipeline import build_evaluator
from mpsearch.training.compiled import Compiler
from mpsearch.trials.supernet import SupernetEvaluator
from tests.run.tiny import Phases, tiny_setup, tiny_study


def test_a_study_is_searched_once_and_its_bits_can_be_retrained(tmp_path: Path) -> None:
    summary = run_study(tiny_study(), tmp_path / "run", "command", Silent())
    assert [trial.number for trial in summary.trials] == [0, 1]
    phases = Phases()
    assert run_study(tiny_study(), tmp_path / "run", "command", phases).to_dict() == summary.to_dict()
    assert phases.titles == []
    bits = load_bits(tmp_path / "run" / "bits.yaml")
    again = retrain(tiny_study(), bits, tmp_path / "again", "command", Silent())
    assert again.trials == ()
    assert again.test["winner"] == summary.test["winner"]


def test_given_bits_above_the_budget_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    layers = tiny_setup(tiny_study()).problem.space.names
    with pytest.raises(BudgetError, match=r"above the budget 4\.5bit; lower its bits"):
        retrain(tiny_study(), Allocation(dict.fromkeys(layers, Choice(8))), tmp_path / "run", "command", Silent())
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("evaluate", ["ptq", "qat", "supernet"])
def test_only_a_supernet_study_shares_weights(evaluate: str, tmp_path: Path) -> None:
    config = tiny_study(search={"evaluate": evaluate})
    problem = tiny_setup(config).problem
    evaluator = build_evaluator(config, problem, Compiler("off", problem.device), Ledger(tmp_path), Silent())
    assert isinstance(evaluator, SupernetEvaluator) == (evaluate == "supernet")
