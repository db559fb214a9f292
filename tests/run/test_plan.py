"""A plan announces the phases and passes that the run then has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mpsearch.core.errors import BudgetError
from mpsearch.core.pass_counts import PassCounts
from mpsearch.core.plan import Plan
from mpsearch.core.progress import Silent
from mpsearch.run import plan, run_study
from mpsearch.run.clock import read_passes
from tests.run.tiny import tiny_study

TRAINED = {
    "search": {"trials": 2, "rungs": [{"name": "short", "epochs": 1}]},
    "retrain": {"epochs": 2},
    "recipe": {"batch_size": 256, "lr": 0.01, "reestimate": 0, "precision": "float32", "distill": 0.5},
}


def done(directory: Path, **changes: Any) -> PassCounts:
    with PassCounts().listening("else"):
        run_study(tiny_study(**changes), directory, "command", Silent())
    return read_passes(directory)


def planned(plan: Plan, name: str) -> tuple[float, float]:
    found = next(phase for phase in plan.phases if phase.name == name)
    return found.forwards, found.backwards


@pytest.mark.parametrize("changes", [{}, TRAINED], ids=["calibrated", "trained"])
def test_the_passes_of_trials_and_retraining_are_those_of_the_run(changes: dict[str, Any], tmp_path: Path) -> None:
    expected, counted = plan(tiny_study(**changes), Silent()), done(tmp_path / "run", **changes)
    assert planned(expected, "study") == (counted["study"].forward, counted["study"].backward)
    forward, backward = planned(expected, "retraining")
    happened = counted["retraining"] + counted["references"]
    assert backward == happened.backward
    assert forward == pytest.approx(happened.forward, rel=0.1)  # what calibration alone is worth is measured, too
    assert expected.seconds > 0


def test_signals_and_shared_weights_are_phases_of_their_own() -> None:
    config = tiny_study(signals={"names": ["fisher", "mix"], "images": 32, "mixed_on": 8}, search={"evaluate": "supernet", "trials": 2})
    names = [phase.name for phase in plan(config, Silent()).phases]
    assert names == ["signal fisher", "signal mix", "supernet", "study", "retraining", "test", "card"]


def test_a_method_with_a_calibration_of_its_own_says_what_it_takes() -> None:
    said = plan(tiny_study(methods={"gptq": {}}), Silent()).based_on
    assert any("gptq improves the calibration" in sentence for sentence in said)
    assert not any("improves" in sentence for sentence in plan(tiny_study(), Silent()).based_on)


def test_nothing_is_planned_for_a_budget_out_of_reach() -> None:
    with pytest.raises(BudgetError):
        plan(tiny_study(budgets=["10B"]), Silent())
