"""The contract refuses loggers that break it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from mpsearch.core.record import Record
from mpsearch.loggers import LOGGERS, Begun, Logger
from mpsearch.loggers.values import Values
from mpsearch.testing import LoggerContract
from mpsearch.testing.logger_contract import logged_begin, logged_summary


class Honest(Logger):
    """A text file."""

    name, description, package = "honest", "a text file", "json"

    def open(self, run: Begun, settings: Mapping[str, str]) -> None:
        self.file = run.directory / "log.txt"

    def write(self, values: Values) -> None:
        with self.file.open("a", encoding="utf-8") as file:
            file.write(f"{values}\n")

    def ended(self, values: Values) -> None:
        self.write(values)


class Talkative(Honest):
    def write(self, values: Values) -> None:
        print(values)


class Choosy(Honest):
    def on_trial(self, record: Record) -> None:
        self.write(Values(axis="trial", numbers={"error": record.score.error}))


class OnceOnly(Honest):
    def open(self, run: Begun, settings: Mapping[str, str]) -> None:
        super().open(run, settings)
        self.file.touch(exist_ok=False)


class Speechless(Honest):
    description = ""


def suite(logger: type[Logger]) -> LoggerContract:
    contract = LoggerContract()
    contract.logger = logger
    return contract


def test_an_honest_logger_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    contract = suite(Honest)
    with LOGGERS.temporarily("honest", Honest):
        contract.test_it_is_described()
    contract.test_a_run_is_logged_from_begin_to_end(tmp_path, capsys)
    contract.test_an_interrupted_run_goes_on(tmp_path)
    contract.test_without_its_package_one_line_says_what_to_install(monkeypatch)


def test_a_logger_without_a_description_does_not() -> None:
    with LOGGERS.temporarily("honest", Speechless), pytest.raises(AssertionError):
        suite(Speechless).test_it_is_described()


@pytest.mark.parametrize("logger", [Talkative, Choosy], ids=["prints", "fails at a failed trial"])
def test_a_logger_that_breaks_a_run_does_not(logger: type[Logger], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises((AssertionError, KeyError)):
        suite(logger).test_a_run_is_logged_from_begin_to_end(tmp_path, capsys)


def test_a_logger_that_cannot_go_on_does_not(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        suite(OnceOnly).test_an_interrupted_run_goes_on(tmp_path)


def test_the_run_it_logs_is_a_sound_one(tmp_path: Path) -> None:
    summary = logged_summary()
    assert type(summary).from_dict(summary.to_dict()) == summary
    assert logged_begin(tmp_path).directory == tmp_path
