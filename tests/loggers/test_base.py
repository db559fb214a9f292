from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import mpsearch
from mpsearch.core.errors import ConfigError, UnknownNameError
from mpsearch.loggers import LOGGERS, Begun, Callback, Logger, callbacks_of
from mpsearch.loggers.values import Values
from mpsearch.testing.logger_contract import logged_begin, logged_summary


class Written(Logger):
    """Keeps what it is told."""

    name, description, package = "written", "keeps it", "json"

    def open(self, run: Begun, settings: Mapping[str, str]) -> None:
        self.settings, self.values = dict(settings), list[Values]()

    def write(self, values: Values) -> None:
        self.values.append(values)

    def ended(self, values: Values) -> None:
        self.values.append(values)


def test_a_callback_of_ones_own_overrides_what_it_wants_to_hear(tmp_path: Path) -> None:
    summary, callback = logged_summary(), Callback()
    callback.on_begin(logged_begin(tmp_path))
    callback.on_trial(summary.trials[0])
    callback.on_epoch("winner", {"epoch": 1})
    callback.on_end(summary)
    callback.close()
    assert mpsearch.Callback is Callback


def test_a_logger_passes_on_moments_in_their_order(tmp_path: Path) -> None:
    summary, logger = logged_summary(), Written()
    logger.on_begin(logged_begin(tmp_path))
    logger.on_trial(summary.trials[0])
    logger.on_epoch("winner", summary.winner.curve[1])
    logger.on_end(summary)
    assert [(values.axis, values.step) for values in logger.values] == [("trial", 0), ("winner", 2), ("summary", 0)]
    assert "trial/accuracy" in logger.values[0].numbers, "by the name of the run's metric"
    assert logger.settings["recipe.lr"] == "0.01"


def test_loggers_come_by_name_and_place() -> None:
    with LOGGERS.temporarily("written", Written):
        mine = Callback()
        (logger, own) = callbacks_of(["written:my project", mine])
    assert isinstance(logger, Written)
    assert logger.place == "my project"
    assert own is mine


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        (["tensorbord"], UnknownNameError, "unknown logger 'tensorbord'; known: .*did you mean 'tensorboard'"),
        ([print], ConfigError, "callbacks: an instance of mpsearch.Callback or the name of a logger is needed, not <built-in"),
        ([Written], ConfigError, "callbacks: an instance of mpsearch.Callback"),
        ([Written(), Written()], ConfigError, "callbacks: 'written' is asked for twice"),
    ],
)
def test_what_is_no_callback(asked: list[Callback | str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        callbacks_of(asked)


def test_no_tracker_is_imported_before_it_is_asked_for() -> None:
    trackers = "{'wandb', 'mlflow', 'trackio', 'tensorboard'}"
    code = f"import sys; from mpsearch.loggers import LOGGERS; LOGGERS.names(); print(*{trackers} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
