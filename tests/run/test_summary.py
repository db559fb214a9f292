"""What a smaller run left out is said in its summary."""

from __future__ import annotations

from mpsearch.config.study import validate_study
from mpsearch.core.allocation import Allocation
from mpsearch.core.record import Record
from mpsearch.run.summary import skipped

STUDY = {
    "name": "s",
    "data": {"source": "memory"},
    "model": {"factory": "m:f"},
    "space": {"name": "s", "weights": [2, 4]},
    "budgets": ["2KB"],
    "methods": {"bsq": {}, "lsq": {}},
    "recipe": {},
}
WINNER = Record(number=0, origin="", allocation=Allocation({}), rung="", scores={}, costs={})


def test_where_no_trial_trains_no_method_is_drawn_and_that_is_said() -> None:
    untrained = {**STUDY, "search": {"rungs": [{"name": "ptq", "epochs": 0}]}}
    sentence = "Methods were not compared, which needs rungs with training: all trials use bsq, the first."
    assert sentence in skipped(validate_study(untrained, label=""), WINNER, None)
    assert sentence not in skipped(validate_study(STUDY, label=""), WINNER, None)
    assert sentence not in skipped(validate_study({**untrained, "methods": {"bsq": {}}}, label=""), WINNER, None)
