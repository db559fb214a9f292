"""`mix` in a run: measured on training images alone or after training, kept as it goes, and left out with one line where it cannot be."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn

from mpsearch.config import StudyConfig, load_study
from mpsearch.core.errors import ConfigError, TrainingDiverged
from mpsearch.core.progress import Silent
from mpsearch.data.base import Splits
from mpsearch.data.split import Split
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.run import sensitivity
from mpsearch.run.sensitivity import SignalResults, compute_signals, prior_tables
from mpsearch.run.setup import assemble
from mpsearch.signals import compute_signal
from mpsearch.study.settings import search_settings
from mpsearch.tasks.task import Task
from mpsearch.training.compiled import Compiler
from mpsearch.trials.evaluator import Evaluator, with_epochs
from mpsearch.trials.problem import Problem

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


@dataclass(frozen=True)
class Asked:
    config: StudyConfig
    problem: Problem

    def signals(self, progress: Any = None, **named: Any) -> SignalResults:
        return compute_signals(self.config, self.problem, progress or Silent(), **named)


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
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
    config = load_study(file)
    problem = assemble(config, splits, model, Silent()).problem
    return Asked(config, replace(problem, validation=cast(Split, Forbidden())))


def test_mix_leads_and_says_what_it_is_made_of(asked: Asked) -> None:
    results = asked.signals()
    tables = results.tables
    assert [table.name for table in tables] == ["mix", "fisher", "measured"]
    cost = tables[0].cost
    assert cost["measured allocations"] == 8
    assert cost["share of fisher"] + cost["share of measured"] == pytest.approx(1)
    assert cost["forwards"] == tables[1].cost["forwards"] + tables[2].cost["forwards"] + 8 * 2
    assert cost["images"] == 32
    assert len(results.measured) == 8
    assert all(asked.problem.fits(each.allocation) for each in results.measured)
    assert SignalResults.from_dict(json.loads(json.dumps(results.to_dict()))).measured == results.measured


def trained(asked: Asked, split: Split) -> Asked:
    signals = asked.config.signals.model_copy(update={"mixed_epochs": 1})
    return Asked(asked.config.model_copy(update={"signals": signals}), replace(asked.problem, validation=split))


def test_after_training_it_is_weighed_by_what_trials_are_scored_by(asked: Asked) -> None:
    after = trained(asked, asked.problem.train)
    results = after.signals()
    first, table, others = results.measured[0], results.tables[0], results.tables[1:]
    evaluator = Evaluator(after.problem, Compiler("off", after.problem.device, 0))
    default = search_settings(after.config).default
    network = evaluator.begin(first.allocation, default.method)
    evaluator.train(network, default.method, with_epochs(default.recipe, 1), seed=after.problem.seed + 1)
    assert first.loss == evaluator.score(network).loss
    assert table.cost["measured allocations"] == 8
    trained_on, reestimated, scored = 48, 32, 48
    assert table.cost["forwards"] == sum(t.cost["forwards"] for t in others) + 8 * (trained_on + reestimated + scored) / 32
    assert table.cost["backwards"] == sum(t.cost["backwards"] for t in others) + 8 * trained_on / 32


def test_a_training_that_does_not_stay_finite_is_left_out(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    train, calls = Evaluator.train, []

    def sometimes(self: Evaluator, *arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise TrainingDiverged("the training loss is nan")
        return train(self, *arguments, **named)

    monkeypatch.setattr(Evaluator, "train", sometimes)
    assert trained(asked, asked.problem.train).signals().tables[0].cost["measured allocations"] == 7


def test_an_interrupted_computation_continues_with_what_it_kept(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[SignalResults] = []
    whole = asked.signals(keep=kept.append)
    assert [(len(each.tables), len(each.measured)) for each in kept] == [(1, 0), (2, 0), *((2, count) for count in range(1, 9))]
    computed: list[str] = []
    measure, compute = Evaluator.divergence, compute_signal

    def counted(self: Evaluator, *arguments: Any) -> float:
        computed.append("allocation")
        return measure(self, *arguments)

    def named(name: str, inputs: Any) -> Any:
        computed.append(name)
        return compute(name, inputs)

    monkeypatch.setattr(Evaluator, "divergence", counted)
    monkeypatch.setattr(sensitivity, "compute_signal", named)
    again = asked.signals(held=SignalResults.from_dict(json.loads(json.dumps(kept[6].to_dict()))))
    assert computed == ["allocation"] * 3
    assert (again.tables[0].values == whole.tables[0].values).all()
    computed.clear()
    asked.signals(held=kept[0])
    assert computed == ["measured", *["allocation"] * 8]


def test_the_mixture_is_the_prior_of_a_search_or_else_all_tables(asked: Asked) -> None:
    tables = asked.signals().tables
    assert prior_tables(tables) == [tables[0]]
    assert prior_tables(tables[1:]) == list(tables[1:])


def test_damages_all_alike_are_one_line_and_no_mixture(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Evaluator, "divergence", lambda self, *arguments: 0.25)
    said = Said()
    assert [table.name for table in asked.signals(said).tables] == ["fisher", "measured"]
    assert len(said.lines) == 1
    assert "lose the same" in said.lines[0]


def test_allocations_that_give_no_number_are_left_out(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([float("nan"), 0.3, 0.1, 0.2, 0.4, 0.6, float("inf"), 0.5])
    monkeypatch.setattr(Evaluator, "divergence", lambda self, *arguments: next(values))
    assert asked.signals().tables[0].cost["measured allocations"] == 6


def test_one_signal_is_nothing_to_weigh(asked: Asked) -> None:
    few = asked.config.model_copy(update={"signals": asked.config.signals.model_copy(update={"names": ("fisher", "mix")})})
    said = Said()
    assert [table.name for table in Asked(few, asked.problem).signals(said).tables] == ["fisher"]
    assert said.lines == ["no mix: it combines at least two signals, and signals.names has only fisher; name one more"]


def test_mix_alone_is_refused_in_a_study_and_takes_the_studys_own_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(STUDY.replace("[fisher, measured, mix]", "[mix]"))
    with pytest.raises(ConfigError, match=r"signals.names: 'mix' combines other signals; name at least two more"):
        load_study(file)
    assert load_study("digits_resnet18", {"signals.names": ["mix"]}).signals.names[:3] == ("mix", "fisher", "measured")
