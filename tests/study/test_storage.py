"""Opening a storage, what goes wrong with it in one line, and what a study keeps beside its trials."""

from __future__ import annotations

import sqlite3
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from mpsearch.core.errors import ConfigError, RunDirectoryError
from mpsearch.study.storage import (
    check_made_from,
    end_of,
    end_study,
    open_storage,
    open_study,
    set_aside_if_damaged,
    storage_errors,
    study_ended,
)
from tests.storages import EVERY, url_of


@pytest.fixture(params=EVERY)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_of(request.param, request, tmp_path)


def test_the_end_is_stored(url: str) -> None:
    study = open_study(url, "mine")
    assert not study_ended(url, "mine")
    end_study(study, "4 trials are done")
    assert end_of(open_study(url, "mine")) == "4 trials are done"
    assert study_ended(url, "mine")


PLACES = r"give a URL such as sqlite:///trials.db or journal:///trials.log in a folder that exists, or postgresql://"
SERVER = r"check that its server runs and is reached from here, and user, password and database"


@pytest.mark.parametrize(
    ("wrong", "cure"),
    [
        ("nonsense", PLACES),
        ("sqlite:////no/such/folder/x.db", PLACES),
        ("journal:////no/such/folder/x.log", PLACES),
        (
            "postgresql+nodriver://me:s3cret@host/db",
            r"give a URL such as postgresql://… without a driver, and pip install .*\[postgresql\]",
        ),
        ("mariadb+nodriver://me:s3cret@host/db", r"give a URL such as mysql://… without a driver, and pip install .*\[mysql\]"),
        ("postgresql://me:s3cret@localhost:1/db", SERVER),
        ("mysql://me:s3cret/with@signs@localhost:1/db", SERVER),
    ],
)
def test_a_storage_that_cannot_be_opened_is_one_line_without_the_password(wrong: str, cure: str) -> None:
    if wrong.startswith("mysql:"):
        pytest.importorskip("pymysql", reason="the extra mysql is not installed")
    with pytest.raises(ConfigError, match=rf"storage: '.*' cannot be opened \(.+\); {cure}") as caught:
        open_study(wrong, "mine")
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_missing_driver_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(ConfigError, match=r"give a URL such as mysql://… without a driver, and pip install 'mpsearch\[mysql\]'"):
        open_study("mysql://me:s3cret@localhost/db", "mine")


def test_a_wrong_password_is_one_line_without_it(mysql: str) -> None:
    with pytest.raises(ConfigError, match=rf"\(Access denied for user 'me'@'localhost' \(using password: YES\)\); {SERVER}") as caught:
        open_study(mysql.replace("s3cret", "gu3ssed"), "mine")
    assert "gu3ssed" not in str(caught.value)


def test_many_processes_begin_trials_on_a_server_at_a_time(url: str) -> None:
    """Numbers are given once, no transaction fails on another's lock, and an attribute of each is its own."""
    open_study(url, "mine")

    def work(name: int) -> None:
        study = open_study(url, "mine")
        for _ in range(3):
            trial = study.ask()
            trial.set_user_attr("mine", name)
            trial.set_user_attr("mine", [name])
            study.set_user_attr("last", name)
            study.tell(trial, [1.0, 1.0])

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, name) for name in range(4)]:
            done.result(120)
    trials = open_study(url, "mine").trials
    assert [trial.number for trial in trials] == list(range(12))
    assert sorted(trial.user_attrs["mine"][0] for trial in trials) == sorted([*range(4)] * 3)


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
    open_study(f"sqlite:///{file}", "mine").ask()
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


def test_a_study_belongs_to_its_network_and_its_layers(url: str) -> None:
    check_made_from(open_study(url, "mine"), "a network", ["a", "b"])
    check_made_from(open_study(url, "mine"), "a network", ["a", "b"])
    for made_from, layers in (("another", ["a", "b"]), ("a network", ["a"])):
        with pytest.raises(RunDirectoryError, match="was begun with another network or data"):
            check_made_from(open_study(url, "mine"), made_from, layers)


def test_of_two_processes_that_end_a_trial_one_succeeds(url: str) -> None:
    """Both have read that it is running; on SQLite both would have written, had their transactions not followed each other."""
    first, second = open_study(url, "mine"), open_study(url, "mine")
    trial = first.ask()
    barrier, outcomes = threading.Barrier(2, timeout=60), list[str]()

    def end(study: optuna.Study, state: TrialState) -> None:
        barrier.wait()
        try:
            study.tell(trial.number, [1.0, 1.0] if state == TrialState.COMPLETE else None, state)
            outcomes.append("ended")
        except (UpdateFinishedTrialError, ValueError):  # at the write, or at the read before it
            outcomes.append("refused")

    threads = [threading.Thread(target=end, args=pair) for pair in ((first, TrialState.COMPLETE), (second, TrialState.FAIL))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["ended", "refused"]
