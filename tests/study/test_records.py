"""What a trial keeps: it is recorded or it is not, in few bytes and few writes, and anybody who opens the study reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.choice import Choice
from mpsearch.core.errors import RunDirectoryError
from mpsearch.core.record import Record, Score
from mpsearch.propose.observation import Proposal
from mpsearch.study.records import Begun, StoredRecords, begin_trial, close_abandoned, proposal_attributes, record_attribute, write_record
from mpsearch.study.storage import open_study

LAYERS = ("fc",)


@pytest.fixture(params=["sqlite", "journal", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.getfixturevalue("postgresql")) if request.param == "postgresql" else f"{request.param}:///{tmp_path}/trials"


BUDGETS = (Budget("size", 200.0, "200B"), Budget("bits", 3.2, "3.2bit"))
"""The record below takes half of the first and five quarters of the second."""


def record(number: int, **changes: object) -> Record:
    fields: dict[str, object] = {
        "number": number,
        "origin": "ei",
        "allocation": Allocation({"fc": Choice(4)}),
        "rung": "short",
        "scores": {"ptq": Score(loss=2.0, error=0.5, metric=0.5), "short": Score(loss=1.0, error=0.25, metric=0.75)},
        "costs": {"size": 100.0, "bits": 4.0},
        "curve": ({"epoch": 1.0, "loss": 0.5},),
    }
    return Record(**{**fields, **changes})  # type: ignore[arg-type]


def begun(study: optuna.Study, layers: int = 1) -> Begun:
    names = LAYERS if layers == 1 else [f"layer{index}" for index in range(layers)]
    allocation = Allocation(
        {name: Choice(2 + index % 7, 2 + index % 5) for index, name in enumerate(names)} if layers > 1 else {"fc": Choice(4)}
    )
    return begin_trial(
        study, proposal_attributes(Proposal(origin="ei", allocation=allocation, improvement=0.1, noise=0.01), 0), {"size": -0.5}
    )


def test_records_are_read_by_whoever_opens_the_study(url: str) -> None:
    study = open_study(url, "mine")
    write_record(begun(study), whole := record(0), BUDGETS)
    write_record(begun(study), broken := record(1, status="failed", scores={}, rung="", note="the loss is nan"), BUDGETS)
    again = open_study(url, "mine")
    assert StoredRecords(LAYERS).of(again.trials) == [whole, broken]
    assert [trial.state for trial in again.trials] == [TrialState.COMPLETE, TrialState.FAIL]
    assert again.trials[0].values == [0.25, 1.25]
    assert open_study(url, "another").trials == []


def test_losses_are_those_of_the_record_by_rung(url: str) -> None:
    study = open_study(url, "mine")
    write_record(begun(study), record(0), BUDGETS)
    write_record(begun(study), record(1, status="failed"), BUDGETS)
    study.tell(study.ask(), state=TrialState.FAIL)
    stored = StoredRecords(LAYERS)
    losses = [stored.losses(trial) for trial in study.trials]
    assert losses == [{"ptq": 2.0, "short": 1.0}, {"ptq": 2.0, "short": 1.0, "failed": float("inf")}, None]
    assert [list(each) for each in losses if each is not None] == [["ptq", "short"], ["ptq", "short", "failed"]]


def test_what_a_dead_process_left_running_is_ended_by_its_record_or_failed(url: str) -> None:
    study = open_study(url, "mine")
    for number in range(3):
        trial = begun(study)
        if number != 1:
            trial.asked.set_user_attr("record", record_attribute(record(number, status="complete" if number == 0 else "failed")))
    again = open_study(url, "mine")
    close_abandoned(again, again.trials, StoredRecords(LAYERS), BUDGETS)
    assert [trial.state for trial in again.trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL]
    assert again.trials[0].values == [0.25, 1.25]
    assert [each.number for each in StoredRecords(LAYERS).of(again.trials)] == [0, 2]


def test_a_trial_under_way_has_no_record_yet(url: str) -> None:
    study = open_study(url, "mine")
    begun(study).asked.set_user_attr("record", record(0).to_dict())
    assert StoredRecords(LAYERS).of(study.trials) == []


def test_optuna_reads_the_study_by_itself(tmp_path: Path) -> None:
    study = open_study(f"sqlite:///{tmp_path}/trials.db", "mine")
    write_record(begun(study), record(0), BUDGETS)
    loaded = optuna.load_study(study_name="mine", storage=f"sqlite:///{tmp_path}/trials.db")
    (trial,) = loaded.trials
    assert (trial.user_attrs["bits"], trial.user_attrs["proposal"]["origin"]) == ("w4af", "ei")
    assert trial.user_attrs["record"]["scores"]["short"]["metric"] == 0.75
    assert trial.constraints == {"size": -0.5}


def test_a_damaged_record_is_named(url: str) -> None:
    study = open_study(url, "mine")
    trial = begun(study)
    trial.asked.set_user_attr("record", {"number": 0})
    study.tell(trial.number, [1.0, 1.0])
    with pytest.raises(RunDirectoryError, match="the record of trial 0 in the storage was damaged"):
        StoredRecords(LAYERS).of(open_study(url, "mine").trials)


@pytest.mark.parametrize(
    ("attribute", "wrong"),
    [
        ("record", lambda held: {**held, "scores": {**held["scores"], "short": {**held["scores"]["short"], "loss": 1.0000000000000002}}}),
        ("record", lambda held: {name: value for name, value in held.items() if name != "digest"}),
        ("bits", lambda held: held.replace("4", "5")),
    ],
)
def test_a_wrong_bit_in_a_number_is_damage(attribute: str, wrong: Callable[[Any], Any], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/trials.db"
    study = open_study(url, "mine")
    trial = begun(study)
    write_record(trial, record(0), BUDGETS)
    (stored,) = study.trials
    assert StoredRecords(LAYERS).of([stored]) == [record(0)]
    stored.set_user_attr(attribute, wrong(stored.user_attrs[attribute]))
    with pytest.raises(RunDirectoryError, match="the record of trial 0 in the storage was damaged"):
        StoredRecords(LAYERS).of([stored])


def test_a_trial_of_200_layers_takes_three_kilobytes(tmp_path: Path) -> None:
    """Bits that differ from layer to layer, the longest text there is, and a record like those of studies."""
    study, file = open_study(f"sqlite:///{tmp_path}/trials.db", "mine"), tmp_path / "trials.db"
    empty = file.stat().st_size
    for number in range(40):
        trial = begun(study, layers=200)
        curve = tuple({"epoch": epoch, "loss": 1.2345678901234567, "metric": 0.9876543210123456} for epoch in range(1, 4))
        write_record(trial, record(number, curve=curve, params={"method": "lsq", "recipe.lr": 0.012345678901234567}), BUDGETS)
    assert file.stat().st_size - empty <= 40 * 3000
