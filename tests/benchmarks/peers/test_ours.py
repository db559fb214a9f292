"""A row is searched for without labels, under its budget, and scored by the task's own metric."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.peers.ours import RECIPE, by_divergence, given_rows, row, searched, tables
from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.space import Space
from mpsearch.costs import CostInputs, compute_costs
from mpsearch.costs.budgets import parse_budgets
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.methods.gptq import Gptq
from mpsearch.models.resnet_cifar import resnet_cifar
from mpsearch.network.calibrate import Calibration
from mpsearch.network.trace import trace
from mpsearch.tasks.task import Task
from mpsearch.training.compiled import Compiler
from mpsearch.trials.evaluator import Evaluator
from mpsearch.trials.problem import Problem

METHOD = Gptq(grid="half", clips=2, sweeps=1)


@pytest.fixture(scope="module")
def problem() -> Problem:
    torch.manual_seed(0)
    model = resnet_cifar(depth=8, in_channels=1).eval()
    images, labels = torch.randn(48, 1, 8, 8), torch.randint(10, (48,))
    space = Space(name="test", weights=(2, 4, 8), activations=(8,)).resolve(trace(model, images[:4]))
    return Problem(
        model=model,
        train=TensorSplit(images[:32], labels[:32]),
        validation=TensorSplit(images[32:], labels[32:]),
        task=Task.classification(),
        space=space,
        costs=compute_costs(["size", "bits"], CostInputs(space=space)),
        budgets=parse_budgets(["3.5bit"]),
        calibration=Calibration.fit(model, space, [images[:32]]),
        device=torch.device("cpu"),
        seed=0,
    )


def evaluator(asked: Problem) -> Evaluator:
    return Evaluator(asked, Compiler("off", asked.device, 0))


def test_a_search_stays_under_its_budget_and_goes_on_where_it_stopped(problem: Problem, tmp_path: Path) -> None:
    scored, file = by_divergence(problem, 8), tmp_path / "trials"
    found = tables(problem, 16, ["measured"])
    first = searched(scored, evaluator(scored), found, METHOD, 2, file)
    again = searched(scored, evaluator(scored), found, METHOD, 3, file)
    assert len(json.loads(file.read_text())) == 3
    assert {record.allocation for record in first} < {record.allocation for record in again}
    assert all(record.allocation.mean_weight_bits(problem.space.layers) <= 3.5 for record in again)
    assert [record.score.loss for record in again] == sorted((record.score.loss for record in again), reverse=True)


def test_divergence_of_the_float_network_from_itself_is_nothing(problem: Problem) -> None:
    scored = by_divergence(problem, 8)
    inputs, outputs = next(iter(scored.validation.batches(8)))
    assert float(scored.task.loss(scored.model(inputs).detach(), outputs)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_row_has_the_size_of_its_bits_and_an_accuracy(problem: Problem, epochs: int) -> None:
    scored = by_divergence(problem, 8)
    chosen = Allocation(dict.fromkeys(problem.space.names, Choice(4, 8)))
    training = replace(RECIPE, epochs=epochs, batch_size=8, precision="float32")
    made = row(evaluator(scored), evaluator(problem), problem.validation, chosen, METHOD, training, 16, {"source": "mpsearch"})
    assert made["mean_bits"] == 4
    assert made["weight_bytes"] == sum(layer.weights for layer in problem.space.layers) / 2
    assert made["test"] * 16 == pytest.approx(round(made["test"] * 16))
    assert set(made["bits"].values()) == {4}


def test_given_rows_are_one_for_each_source_menu_and_size(tmp_path: Path) -> None:
    def entry(**words: object) -> dict[str, object]:
        return {"source": "mct", "menu": [2, 4, 8], "asked_bits": 3.0, "act_bits": 8, "bits": {"fc": 2}, **words}

    rows = [entry(), entry(method="lsq", bits={"fc": 4}), entry(asked_bits=4.0), entry(act_bits=32), entry(source="modelopt")]
    (file := tmp_path / "rows.json").write_text(json.dumps(rows))
    assert given_rows(file, "mct", 8, [3.0]) == rows[:1]
    assert given_rows(file, None, 8, [3.0, 4.0]) == [rows[0], rows[2], rows[4]]
    assert given_rows(file, None, 32, [3.0]) == [rows[3]]
