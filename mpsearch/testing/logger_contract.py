"""`LoggerContract`: what every logger owes, whatever tracker it writes to."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.core.layer import Layer
from mpsearch.core.record import Record, Score
from mpsearch.core.summary import Reference, Summary
from mpsearch.loggers import LOGGERS, Begun, Logger

__all__ = ["LoggerContract", "logged_begin", "logged_summary"]

_LAYERS = ("conv1", "layers[0].<lambda>", "größe:  /x", "a" * 200)
"""Names as modules may have them."""


def logged_summary(trials: int = 3) -> Summary:
    """A run of four layers: one trial failed, the winner was retrained for two epochs."""
    layers = tuple(
        Layer(
            name=name,
            module=name,
            parameter="weight",
            kind="Linear",
            weight_shape=(4, 4),
            channels=4,
            macs=16,
            input_elements=4,
            output_elements=4,
            act_quantizable=True,
            signed_input=True,
            bias_elements=4,
            norm="",
        )
        for name in _LAYERS
    )

    def record(number: int, error: float) -> Record:
        choice = Choice(2 + number % 3, 8)
        return Record(
            number=number,
            origin="milp:fisher",
            allocation=Allocation({layer.name: choice for layer in layers}),
            rung="ptq",
            scores={"ptq": Score(loss=2 * error, error=error, metric=1 - error)},
            costs={"size": 100.0 + number, "bits": 2.0 + number},
            params={"method": "lsq", "recipe.lr": 0.01},
            seconds=1.5,
        )

    records = tuple(record(number, 0.5 / (number + 1)) for number in range(trials))
    failed = replace(record(trials, 0.5), status="failed", scores={}, rung="", note="the loss became NaN\nand \x1b[31m stayed so")
    curve = tuple({"epoch": epoch, "loss": 1.0 / epoch, "metric": 0.8 + epoch / 100, "validation_loss": 0.5} for epoch in (1, 2))
    score = Score(loss=0.3, error=0.1, metric=0.9)
    winner = replace(records[-1], rung="full", scores={**records[-1].scores, "full": score}, curve=curve)
    return Summary(
        name="contract",
        model="four layers",
        data="none",
        metric="accuracy",
        seed=0,
        effort="quick",
        command="mpsearch study",
        artifact="model.safetensors",
        artifact_bytes=102,
        budgets=(Budget(cost="size", limit=200.0, text="200B"),),
        layers=layers,
        reachable={"size": (50.0, 400.0)},
        reference=Reference(scores={"validation": score}, costs={"size": 1024.0}),
        trials=(*records, failed),
        winner=winner,
        test={"float": score, "winner": score},
        formats=tuple(choice.weight for choice in winner.allocation.values()),
        seconds={"study": 3.0},
    )


def logged_begin(folder: Path) -> Begun:
    """The begin of such a run in a folder."""
    study = {"name": "contract", "seed": 0, "budgets": ["200B"], "recipe": {"lr": 0.01, "note": "x" * 5000}, "empty": {}}
    return Begun(name="contract", identity="0123456789ab", directory=folder, command="mpsearch study", study=study, metric="accuracy")


@pytest.mark.filterwarnings("ignore")  # of the trackers' own code, which is not ours to mend
class LoggerContract:
    """Subclass it, name the class `Test…`, and set `logger` to the class of a registered logger."""

    logger: type[Logger]

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A run directory; the tracker reaches nothing outside of its parent."""
        monkeypatch.chdir(tmp_path)
        for name, value in self.logger.offline.items():
            monkeypatch.setenv(name, value.format(folder=tmp_path))
        if importlib.util.find_spec(self.logger.package) is None:
            pytest.skip(f"{self.logger.package} is not installed")
        (tmp_path / "run").mkdir()
        return tmp_path / "run"

    def test_it_is_described(self) -> None:
        """`mpsearch list loggers` has a line to show, and `--log` finds it by its name."""
        assert self.logger.description
        assert "\n" not in self.logger.description
        assert self.logger.package
        assert LOGGERS[self.logger.name] is self.logger

    def test_without_its_package_one_line_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is imported before."""
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(ConfigError, match=rf"^logger '{self.logger.name}' needs {self.logger.package}; pip install 'mpsearch\[\w+\]'$"):
            self.logger()

    def test_a_run_is_logged_from_begin_to_end(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Failed trials, long texts and names with any characters included; standard output is left to results."""
        logger, summary = self.logger(), logged_summary()
        logger.on_begin(logged_begin(folder))
        for record in summary.trials:
            logger.on_trial(record)
        for point in summary.winner.curve:
            logger.on_epoch("winner", point)
        logger.on_end(summary)
        logger.close()
        assert any(path.is_file() for path in folder.parent.rglob("*"))
        assert capsys.readouterr().out == ""

    def test_an_interrupted_run_goes_on(self, folder: Path) -> None:
        """Another process takes the run up where the first one was stopped."""
        summary = logged_summary()
        for part in (summary.trials[:2], summary.trials[2:]):
            logger = self.logger()
            logger.on_begin(logged_begin(folder))
            for record in part:
                logger.on_trial(record)
            logger.close()
