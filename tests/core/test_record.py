from __future__ import annotations

import json

import pytest

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.core.record import Record, Score, pareto_front


def record(number: int, size: float, error: float, **changes: object) -> Record:
    fields: dict[str, object] = {
        "number": number,
        "origin": "milp:fisher",
        "allocation": Allocation({"a": Choice(2 + number % 5)}),
        "rung": "short",
        "scores": {"ptq": Score(loss=9.0, error=0.9, metric=0.1), "short": Score(loss=error, error=error, metric=1 - error)},
        "costs": {"size": size},
        "params": {"method": "lsq", "recipe.lr": 0.02},
        "curve": ({"epoch": 1, "loss": 0.5},),
    }
    return Record(**{**fields, **changes})  # type: ignore[arg-type]


def test_front_keeps_what_nothing_beats_and_equal_points_once() -> None:
    records = [record(0, 100, 0.3), record(1, 100, 0.3), record(2, 90, 0.4), record(3, 120, 0.3), record(4, 120, 0.1), record(5, 95, 0.5)]
    assert [r.number for r in pareto_front(records)] == [2, 0, 4]


def test_front_leaves_out_failed_trials() -> None:
    assert [r.number for r in pareto_front([record(0, 1, 0.0, status="failed"), record(1, 2, 0.5)])] == [1]


def test_no_front_of_nothing() -> None:
    assert pareto_front([]) == []


def test_round_trip_through_json() -> None:
    original = record(3, 100.0, 0.25, note="x", feasible=False)
    assert Record.from_dict(json.loads(json.dumps(original.to_dict()))) == original


def test_what_completed_has_a_score() -> None:
    plain = record(3, 100.0, 0.25).to_dict()
    with pytest.raises(ConfigError, match="there is no score at the rung 'long'"):
        Record.from_dict({**plain, "rung": "long"})
    assert Record.from_dict({**plain, "rung": "", "scores": {}, "status": "failed"}).scores == {}


@pytest.mark.parametrize(("field", "value"), [("number", "3"), ("origin", [1]), ("costs", {"size": "1"}), ("evil", 1), ("curve", "abc")])
def test_what_is_no_record_is_refused(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field):
        Record.from_dict({**record(3, 100.0, 0.25).to_dict(), field: value})
