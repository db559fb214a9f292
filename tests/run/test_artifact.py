"""A retrained network is read back with its record, or it is trained; the two files are never of different networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mpsearch.core.choice import Choice
from mpsearch.core.errors import ArtifactError
from mpsearch.core.record import Record
from mpsearch.data.base import Splits
from mpsearch.network.baked import Parts, bake, install
from mpsearch.network.trace import trace
from mpsearch.run.artifact import retrained_once
from mpsearch.run.ledger import Ledger
from mpsearch.run.setup import Setup
from mpsearch.targets import TARGETS
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.packed.write import PackedWriter
from mpsearch.training.compiled import Compiler
from mpsearch.trials.evaluator import Evaluator
from tests.problems import small_problem, small_settings


@pytest.fixture(scope="module")
def setup() -> Setup:
    problem = small_problem()
    batch = torch.randn(4, 6)
    blueprint = Blueprint(architecture=problem.model, inputs=batch, model="m:f", layers=trace(problem.model, batch))
    splits = Splits(name="d", train=problem.train, validation=problem.validation, test=None, task=problem.task, fingerprint="d")
    return Setup(splits=splits, target=TARGETS["packed"](), writer=PackedWriter(blueprint), problem=problem)


def trained(setup: Setup, bits: int) -> tuple[Record, Parts]:
    problem, hyper = setup.problem, small_settings(1).default
    allocation = problem.space.uniform(Choice(bits))
    evaluator = Evaluator(problem, Compiler("off", problem.device))
    network = evaluator.begin(allocation, hyper.method)
    score = evaluator.ptq(network, hyper.method, hyper.recipe)
    size = problem.amounts(allocation, hyper.method)["size"] + setup.writer.overhead_bytes
    return Record(number=0, origin="x", allocation=allocation, rung="full", scores={"full": score}, costs={"size": size}), bake(network)


def test_trained_once_and_read_back_to_the_bit(setup: Setup, tmp_path: Path) -> None:
    calls: list[int] = []

    def train() -> tuple[Record, Parts]:
        calls.append(1)
        return trained(setup, 2)

    first, again = (retrained_once(Ledger(tmp_path), "a.json", "a.safetensors", setup, train, "x") for _ in range(2))
    assert len(calls) == 1
    assert first.record == again.record
    problem = setup.problem
    x = torch.randn(16, 6)
    with torch.no_grad():
        outputs = [install(problem.model, problem.space.layers, parts)(x) for parts in (trained(setup, 2)[1], first.parts, again.parts)]
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


@pytest.mark.parametrize("lost", ["a.json", "a.safetensors"])
def test_half_a_result_is_none(lost: str, setup: Setup, tmp_path: Path) -> None:
    retrained_once(Ledger(tmp_path), "a.json", "a.safetensors", setup, lambda: trained(setup, 2), "x")
    (tmp_path / lost).unlink()
    again = retrained_once(Ledger(tmp_path), "a.json", "a.safetensors", setup, lambda: trained(setup, 4), "x")
    assert again.record.allocation["0"] == Choice(4)


def test_a_file_of_another_size_than_promised_is_refused(setup: Setup, tmp_path: Path) -> None:
    def wrong() -> tuple[Record, Any]:
        record, parts = trained(setup, 2)
        return replace(record, costs={"size": record.costs["size"] - 1}), parts

    with pytest.raises(ArtifactError, match="bytes but its cost was"):
        retrained_once(Ledger(tmp_path), "a.json", "a.safetensors", setup, wrong, "x")
    assert not (tmp_path / "a.json").exists()
