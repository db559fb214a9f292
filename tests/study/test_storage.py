"""What a study keeps: one attribute a trial, so that a trial is recorded or it is not, and the reason why the study ended."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError, RunDirectoryError
from mpsearch.core.record import Record, Score
from mpsearch.study.storage import (
    StoredRecords,
    close_abandoned,
    end_of,
    end_study,
    open_storage,
    open_study,
    set_aside_if_damaged,
    storage_errors,
    study_ended,
    write_record,
)


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


def test_records_are_read_by_whoever_opens_the_study(url: str) -> None:
    study = open_study(url, "mine")
    write_record(study, study.ask(), whole := record(0), BUDGETS)
    write_record(study, study.ask(), broken := record(1, status="failed", scores={}, rung="", note="the loss is nan"), BUDGETS)
    again = open_study(url, "mine")
    assert StoredRecords().of(again) == [whole, broken]
    assert [trial.state for trial in again.trials] == [TrialState.COMPLETE, TrialState.FAIL]
    assert again.trials[0].values == [0.25, 1.25]
    assert open_study(url, "another").trials == []


def test_losses_are_those_of_the_record_by_rung(url: str) -> None:
    study = open_study(url, "mine")
    write_record(study, study.ask(), record(0), BUDGETS)
    write_record(study, study.ask(), record(1, status="failed"), BUDGETS)
    study.tell(study.ask(), state=TrialState.FAIL)
    stored = StoredRecords()
    losses = [stored.losses(trial) for trial in study.trials]
    assert losses == [{"ptq": 2.0, "short": 1.0}, {"ptq": 2.0, "short": 1.0, "failed": float("inf")}, None]
    assert [list(each) for each in losses if each is not None] == [["ptq", "short"], ["ptq", "short", "failed"]]


def test_what_a_dead_process_left_running_is_ended_by_its_record_or_failed(url: str) -> None:
    study = open_study(url, "mine")
    for number in range(3):
        trial = study.ask()
        if number != 1:
            trial.set_user_attr("record", record(number, status="complete" if number == 0 else "failed").to_dict())
    again = open_study(url, "mine")
    close_abandoned(again, BUDGETS)
    assert [trial.state for trial in again.trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL]
    assert again.trials[0].values == [0.25, 1.25]
    assert [each.number for each in StoredRecords().of(again)] == [0, 2]


def test_a_trial_under_way_has_no_record_yet(url: str) -> None:
    study = open_study(url, "mine")
    study.ask().set_user_attr("record", record(0).to_dict())
    assert StoredRecords().of(study) == []


def test_the_end_is_stored(url: str) -> None:
    study = open_study(url, "mine")
    assert not study_ended(url, "mine")
    end_study(study, "4 trials are done")
    assert end_of(open_study(url, "mine")) == "4 trials are done"
    assert study_ended(url, "mine")


@pytest.mark.parametrize(
    "wrong", ["nonsense", "sqlite:////no/such/folder/x.db", "journal:////no/such/folder/x.log", "postgresql+nodriver://me:s3cret@host/db"]
)
def test_a_storage_that_cannot_be_opened_is_one_line_without_the_password(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"storage: '.*' cannot be opened .*give a URL such as") as caught:
        open_study(wrong, "mine")
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_optuna_reads_the_study_by_itself(tmp_path: Path) -> None:
    study = open_study(f"sqlite:///{tmp_path}/trials.db", "mine")
    write_record(study, study.ask(), record(0), BUDGETS)
    loaded = optuna.load_study(study_name="mine", storage=f"sqlite:///{tmp_path}/trials.db")
    assert Record.from_dict(loaded.trials[0].user_attrs["record"]) == record(0)


def test_an_interrupt_while_a_connection_is_returned_is_raised_and_not_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/trials.db")
    assert isinstance(storage, optuna.storages.RDBStorage)
    connection = storage.engine.raw_connection()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(storage.engine.dialect, "do_rollback", interrupted)
    with pytest.raises(KeyboardInterrupt):
        connection.close()
    assert not caplog.records


@pytest.mark.parametrize(("content", "sound"), [(None, True), (b"", False), (b"junk" * 1000, False)])
def test_a_damaged_file_is_set_aside(content: bytes | None, sound: bool, tmp_path: Path) -> None:
    file, said = tmp_path / "study.db", list[str]()
    open_study(f"sqlite:///{file}", "mine")
    if content is not None:
        file.write_bytes(content)
    set_aside_if_damaged(file, said.append)
    assert file.exists() is sound
    assert said == ([] if sound else ["study.db was damaged; it is kept as study.db.damaged, and its trials are run again"])
    set_aside_if_damaged(tmp_path / "missing.db", said.append)


def test_a_damaged_page_is_damage(tmp_path: Path) -> None:
    file, said = tmp_path / "study.db", list[str]()
    study = open_study(f"sqlite:///{file}", "mine")
    write_record(study, study.ask(), record(0), BUDGETS)
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    set_aside_if_damaged(file, said.append)
    assert said


def test_a_locked_database_is_one_line(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/trials.db"
    open_study(url, "mine")

    def refused() -> None:
        with storage_errors(url):
            storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 0.1}})
            optuna.create_study(study_name="other", storage=storage)

    with closing(sqlite3.connect(tmp_path / "trials.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RunDirectoryError, match=r"storage 'sqlite:.*': .*locked; mend that, and the same command goes on") as caught:
            refused()
    assert "\n" not in str(caught.value)


def test_a_damaged_record_is_named(url: str) -> None:
    study = open_study(url, "mine")
    trial = study.ask()
    trial.set_user_attr("record", {"number": 0})
    study.tell(trial, [1.0, 1.0])
    with pytest.raises(RunDirectoryError, match="the record of trial 0 in the storage was damaged"):
        StoredRecords().of(open_study(url, "mine"))


def test_a_journal_that_names_another_file_deletes_nothing(tmp_path: Path) -> None:
    """SQLite deletes the super-journal that a crafted journal names, whatever file that is."""
    file, precious = tmp_path / "study.db", tmp_path / "precious.txt"
    open_study(f"sqlite:///{file}", "s")
    precious.write_text("mine")
    magic, name = bytes.fromhex("d9d505f920a163d7"), str(precious).encode()
    page = 4096
    header = magic + struct.pack(">IIIII", 0, 0, file.stat().st_size // page, 512, page)
    end = struct.pack(">I", 0x40000000 // page + 1) + name + struct.pack(">II", len(name), sum(name)) + magic
    (tmp_path / "study.db-journal").write_bytes(header.ljust(512, b"\0") + end)
    with pytest.raises(RunDirectoryError, match=r"journal names another file, which SQLite would delete; remove that journal"):
        set_aside_if_damaged(file, lambda line: None)
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("code", ["CREATE TRIGGER t AFTER INSERT ON trials BEGIN SELECT 1; END", "CREATE VIEW v AS SELECT * FROM studies"])
def test_a_database_with_code_of_its_own_is_refused(code: str, tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    open_study(f"sqlite:///{file}", "s")
    with closing(sqlite3.connect(file)) as database:
        database.execute(code)
    with pytest.raises(RunDirectoryError, match="holds code of its own"):
        set_aside_if_damaged(file, lambda line: None)
