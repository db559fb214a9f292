from __future__ import annotations

import json
from typing import Any

import pytest

from mpsearch.report.explorer_data import explorer_data, role_of_run
from mpsearch.report.info.explorer import Command, Expected, RunDetails, ShownRun, explorer_info
from tests.report.summaries import make_summary

SUMMARY = make_summary(acts=True)


def data_of(details: RunDetails) -> dict[str, Any]:
    return explorer_data(explorer_info([ShownRun(name="run", summary=SUMMARY, details=details)]))


def test_bits_can_be_read_back() -> None:
    data = data_of(RunDetails())
    (run,) = data["runs"]
    assert len(data["points"]) == 21
    for point in data["points"]:
        read = {
            layer["name"]: run["choices"][ord(letter) - data["base"]] for layer, letter in zip(run["layers"], point["bits"], strict=True)
        }
        record = SUMMARY.winner if point["name"] == "winner" else SUMMARY.uniform
        if point["name"].startswith("trial "):
            record = SUMMARY.trials[int(point["name"].removeprefix("trial "))]
        assert record is not None
        assert {name: choice["text"] for name, choice in read.items()} == record.allocation.to_dict()
        assert all(choice["quantized"] for choice in read.values())
    assert json.loads(json.dumps(data, allow_nan=False)) == json.loads(json.dumps(data))


def test_each_figure_says_what_kind_it_is() -> None:
    trial = SUMMARY.trials[4]
    expected = Expected(metric=0.871, low=0.86, high=0.88, rung="short")
    commands = (Command(text="mpsearch pick run --trial 4", purpose="write these bits"),)
    data = data_of(RunDetails(expected={trial.allocation: expected}, commands={trial.allocation: commands}))
    point = next(point for point in data["points"] if point["name"] == "trial 4")
    kinds = [(figure["name"], figure["text"], figure["kind"]) for figure in point["figures"]]
    assert kinds[0] == (
        "expected",
        "87.10 %",
        "86.00 % to 88.00 % with 90 %: the surrogate's prediction after all trials, for short QAT",
    )
    assert [kind for _, _, kind in kinds[1:3]] == ["measured, nothing trained", "measured, after a short training"]
    assert point["commands"] == [{"text": "mpsearch pick run --trial 4", "purpose": "write these bits"}]
    winner = data["points"][-1]["figures"]
    assert [figure["name"] for figure in winner[-2:]] == ["final", "test"]
    assert winner[-1]["value"] == pytest.approx(0.8901)


def test_runs_share_colours_only_when_there_are_many() -> None:
    assert len({role_of_run(place) for place in range(8)}) == 8
    assert role_of_run(8) == role_of_run(0)
