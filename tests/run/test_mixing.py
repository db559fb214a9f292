"""`mix` in a run: measured on training images alone or after training, kept as it goes, and left out with one line where it cannot be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn

from mpsearch.config import load_study
from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import ConfigError, TrainingDiverged
from mpsearch.core.progress import Silent
from mpsearch.data.base import Splits
from mpsearch.data.split import Split
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.run.experiment import Experiment, assemble
from mpsearch.run.mixing import heard
from mpsearch.run.stages import _signals
from mpsearch.study.settings import search_settings
from mpsearch.tasks.task import Task
from mpsearch.training.compiled import Compiler
from mpsearch.trials.evaluator import Evaluator, with_epochs

STUDY = """
name: tiny
data: {source: digits}
model: {factory: "tinynet:make"}
space: {name: few, weights: [1, 2, 4, 8]}
budgets: [3bit]
signals: {names: [fisher, measured, mix], images: 32, batch_size: 16, mixed_on: 8}
methods: {lsq: {}}
recipe: {batch_size: 16, lr: 0.01, reestimate: 32, precision: float32}
compile: "off"
device: cpu
"""


class Said(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


class Forbidden:
    """A split nobody may look at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a signal reads '{name}' of a split it must not see")


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    file = tmp_path / "tiny.yaml"
    file.write_text(STUDY)
    torch.manual_seed(0)
    x, y = torch.randn(48, 1, 6, 6), torch.randint(4, (48,))
    split = TensorSplit(x, y)
    splits = Splits(name="noise", train=split, validation=split, task=Task.classification(), fingerprint="0")
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 16),
        nn.ReLU(),
        nn.Linear(16, 4),
    )
    built = assemble(load_study(file), splits, model, Silent())
    unseen = cast(Split, Forbidden())
    return replace(built, splits=replace(splits, validation=unseen), problem=replace(built.problem, validation=unseen))


def test_mix_leads_and_says_what_it_is_made_of(experiment: Experiment, tmp_path: Path) -> None:
    tables = _signals(experiment, tmp_path / "tables.json", Silent())
    assert [table.name for table in tables] == ["mix", "fisher", "measured"]
    cost = tables[0].cost
    assert cost["measured allocations"] == 8
    assert cost["share of fisher"] + cost["share of measured"] == pytest.approx(1)
    assert cost["forwards"] == tables[1].cost["forwards"] + tables[2].cost["forwards"] + 8 * 2
    assert cost["images"] == 32
    held = json.loads((tmp_path / "measured.json").read_text())
    assert len(held) == 8
    assert all(experiment.problem.fits(Allocation.from_dict(entry["bits"])) for entry in held)


def trained(experiment: Experiment, split: Split) -> Experiment:
    signals = experiment.config.signals.model_copy(update={"mixed_epochs": 1})
    config = experiment.config.model_copy(update={"signals": signals})
    return replace(experiment, config=config, problem=replace(experiment.problem, validation=split))


def test_after_training_it_is_weighed_by_what_trials_are_scored_by(experiment: Experiment, tmp_path: Path) -> None:
    asked = trained(experiment, experiment.problem.train)
    table = _signals(asked, tmp_path / "tables.json", Silent())[0]
    held = json.loads((tmp_path / "measured.json").read_text())
    evaluator = Evaluator(asked.problem, Compiler("off", asked.problem.device, 0))
    default = search_settings(asked.config).default
    network = evaluator.begin(Allocation.from_dict(held[0]["bits"]), default.method)
    evaluator.train(network, default.method, with_epochs(default.recipe, 1), seed=asked.problem.seed + 1)
    assert held[0]["loss"] == evaluator.score(network).loss
    assert table.cost["measured allocations"] == 8
    others = _signals(asked, tmp_path / "tables.json", Silent())[1:]
    trained_on, reestimated, scored = 48, 32, 48
    assert table.cost["forwards"] == sum(t.cost["forwards"] for t in others) + 8 * (trained_on + reestimated + scored) / 32
    assert table.cost["backwards"] == sum(t.cost["backwards"] for t in others) + 8 * trained_on / 32


def test_a_training_that_does_not_stay_finite_is_left_out(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    train, calls = Evaluator.train, []

    def sometimes(self: Evaluator, *arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise TrainingDiverged("the training loss is nan")
        return train(self, *arguments, **named)

    monkeypatch.setattr(Evaluator, "train", sometimes)
    assert _signals(trained(experiment, experiment.problem.train), None, Silent())[0].cost["measured allocations"] == 7


def test_goes_on_with_what_was_measured(experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _signals(experiment, tmp_path / "tables.json", Silent())
    held = tmp_path / "measured.json"
    held.write_text(json.dumps(json.loads(held.read_text())[:5]))
    calls: list[int] = []
    measure = Evaluator.divergence

    def counted(self: Evaluator, *arguments: Any) -> float:
        calls.append(1)
        return measure(self, *arguments)

    monkeypatch.setattr(Evaluator, "divergence", counted)
    again = _signals(experiment, tmp_path / "tables.json", Silent())
    assert len(calls) == 3
    assert (again[0].values == whole[0].values).all()


def test_the_first_alone_is_the_mixture_where_there_is_one(experiment: Experiment) -> None:
    assert _signals(experiment, None, Silent(), only_first=True)[0].name == "mix"


def test_a_search_listens_to_the_mixture_or_else_to_all(experiment: Experiment, tmp_path: Path) -> None:
    tables = _signals(experiment, tmp_path / "tables.json", Silent())
    assert heard(tables) == [tables[0]]
    assert heard(tables[1:]) == list(tables[1:])


def test_damages_all_alike_are_one_line_and_no_mixture(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Evaluator, "divergence", lambda self, *arguments: 0.25)
    said = Said()
    assert [table.name for table in _signals(experiment, None, said)] == ["fisher", "measured"]
    assert len(said.lines) == 1
    assert "lose the same" in said.lines[0]


def test_allocations_that_give_no_number_are_left_out(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([float("nan"), 0.3, 0.1, 0.2, 0.4, 0.6, float("inf"), 0.5])
    monkeypatch.setattr(Evaluator, "divergence", lambda self, *arguments: next(values))
    assert _signals(experiment, None, Silent())[0].cost["measured allocations"] == 6


def test_one_signal_is_nothing_to_weigh(experiment: Experiment) -> None:
    few = experiment.config.model_copy(update={"signals": experiment.config.signals.model_copy(update={"names": ("fisher", "mix")})})
    said = Said()
    assert [table.name for table in _signals(replace(experiment, config=few), None, said)] == ["fisher"]
    assert said.lines == ["no mix: it weighs signals against each other, and signals.names has only fisher; name one more"]


def test_mix_alone_is_refused_in_a_study_and_takes_the_studys_own_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(STUDY.replace("[fisher, measured, mix]", "[mix]"))
    with pytest.raises(ConfigError, match=r"signals.names: 'mix' combines other signals; name at least two more"):
        load_study(file)
    assert load_study("digits_resnet18", {"signals.names": ["mix"]}).signals.names[:3] == ("mix", "fisher", "measured")
