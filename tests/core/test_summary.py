"""What a summary of a stranger's file may hold: what can be drawn, and nothing that leads out of the run directory."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from mpsearch.core.errors import ConfigError
from mpsearch.core.summary import CARD, Summary
from mpsearch.run import directory
from tests.report.summaries import hostile_summary, make_summary

FLOATS = {"reason": "bias", "tensors": 1, "bytes": 4, "parameters": 1, "largest": ["fc.bias"], "largest_bytes": [4]}
Change = Callable[[dict[str, Any]], object]


def plain() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(json.dumps(make_summary(acts=True).to_dict()))
    return read


def put(*path: Any, value: Any) -> Change:
    def change(summary: dict[str, Any]) -> None:
        place: Any = summary
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


def mixture(**cost: float) -> Change:
    return put("tables", 0, "cost", value={"weight of fisher": 1.0, **cost})


@pytest.mark.parametrize("summary", [make_summary(), make_summary(acts=True), hostile_summary()])
def test_round_trip_through_json(summary: Summary) -> None:
    text = json.dumps(summary.to_dict())
    assert json.dumps(Summary.from_dict({**json.loads(text), "digest": "of a file"}).to_dict()) == text


def test_a_study_of_thousands_of_trials_is_read() -> None:
    read = plain()
    read["trials"] = [{**read["trials"][0], "number": number} for number in range(20_000)]
    assert len(Summary.from_dict(read).trials) == 20_000


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_trial_may_have_scored_what_is_no_number(value: float) -> None:
    read = plain()
    put("trials", 0, "scores", read["trials"][0]["rung"], "metric", value=value)(read)
    Summary.from_dict(read)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (put("layers", value=[]), "layers must be one or more"),
        (lambda s: s["layers"].append(s["layers"][0]), "each with a name of its own"),
        (put("layers", 0, "weight_shape", value=[0]), "each of one element or more"),
        (put("layers", 0, "weight_shape", value=[]), "must have 1 to 16 dimensions"),
        (put("layers", 0, "weight_shape", value=[1] * 17), "must have 1 to 16 dimensions"),
        (put("layers", 0, "channels", value=0), "each of one element or more"),
        (lambda s: [layer.update(input_elements=0) for layer in s["layers"]], "inputs of one element"),
        (put("formats", value=[]), "formats must be one for each of the 22 layers, not 0"),
        (put("artifact", value="/elsewhere/x.safetensors"), "plain name of a file"),
        (put("artifact", value="../x.safetensors"), "plain name of a file"),
        (put("artifact", value=".."), "plain name of a file"),
        (put("artifact", value=""), "plain name of a file"),
        (put("artifact", value="a\x1b[2J"), "plain name of a file"),
        (put("delivered", value={"../x": ""}), "plain name of a file"),
        (put("card", value="//evil.example/x"), "card must be 'card.md' or empty"),
        (put("artifact_bytes", value=0), "artifact_bytes must be 1 or more"),
        (put("budgets", 0, "cost", value='"><img src=x onerror=alert(5)>'), "the name of a cost must be letters"),
        (put("budgets", 0, "cost", value="evil"), "reachable must hold the range of the cost 'evil'"),
        (lambda s: s["budgets"].append(s["budgets"][0]), "budgets must be one for each cost"),
        (put("budgets", 0, "limit", value=0), "limits above zero"),
        (put("reachable", "size", value=[0, float("inf")]), "reachable must be finite"),
        (put("seconds", value={"a": float("inf")}), "seconds must be finite"),
        (put("surrogate", value={"count": 3}), "surrogate must be empty or hold correlation"),
        (put("winner", "allocation", value={}), "winner: allocation must have a choice for each layer"),
        (put("trials", 0, "allocation", value={}), "trial 0: allocation must"),
        (put("trials", 1, "number", value=0), "numbers of their own"),
        (put("winner", "rung", value="zzz"), "winner: there is no score at the rung 'zzz'"),
        (put("winner", "costs", value={}), "winner: costs must hold finite numbers for size"),
        (put("trials", 0, "costs", "size", value=float("inf")), "trial 0: costs must hold finite numbers for size"),
        (put("reference", "scores", value={}), "reference must have a score"),
        (put("reference", "costs", value={}), "reference must have a score by the name of validation, and a size"),
        (put("reference", "scores", "validation", "metric", value=float("nan")), "must be finite"),
        (put("test", "winner", "loss", value=float("inf")), "must be finite"),
        (lambda s: s["test"].pop("uniform"), "test must be empty, or hold"),
        (put("tables", 0, "layers", value=[str(number) for number in range(22)]), "a row for each layer"),
        (put("trials", 0, "allocation", "fc", value="w7a7"), "a column for each choice of the trials"),
        (mixture(), "which is a mixture, must hold"),
        (lambda s: s.update(tables=s["tables"] * 33), "tables must be at most 64"),
        (put("unquantized", value=[{**FLOATS, "largest": []}]), "unquantized: 'bias' must have one tensor or more"),
        (put("unquantized", value=[{**FLOATS, "bytes": -1}]), "no negative number"),
    ],
)
def test_what_contradicts_itself_is_refused(change: Change, told: str) -> None:
    forged = plain()
    Summary.from_dict(forged)
    change(forged)
    with pytest.raises(ConfigError, match=told):
        Summary.from_dict(forged)


def test_rungs_are_few_enough_for_a_legend() -> None:
    forged = plain()
    score = {"loss": 1.0, "error": 0.5, "metric": 0.5}
    forged["trials"] = [{**forged["trials"][0], "number": n, "rung": f"r{n}", "scores": {f"r{n}": score}} for n in range(33)]
    with pytest.raises(ConfigError, match="at most 32 different rungs"):
        Summary.from_dict(forged)


def test_the_card_has_one_name() -> None:
    assert CARD == directory.CARD
