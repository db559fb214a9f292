"""A range of budgets: which points stand for its front, and that each is trained, delivered, resumed and found again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mpsearch.config import load_bits
from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.choice import Choice
from mpsearch.core.errors import BudgetError, RunDirectoryError
from mpsearch.core.progress import Silent
from mpsearch.core.summary import Summary
from mpsearch.costs.budgets import parse_budget
from mpsearch.propose.posterior import Posterior
from mpsearch.run import allocate, run_study
from mpsearch.run.finished_run import open_finished
from mpsearch.run.front_points import chosen_points
from mpsearch.run.pick import Picker
from mpsearch.targets import read_artifact
from tests.propose.worlds import World, played
from tests.run.tiny import digits_net, tiny_study


class Said(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def ran(directory: Path) -> tuple[Summary, list[str]]:
    said = Said()
    config = tiny_study(
        budgets=["1600..2300B"],
        space={"name": "some", "weights": [2, 3, 4, 6, 8]},
        search={"trials": 5, "rungs": [{"name": "ptq", "epochs": 0}]},
        float_recipe={"epochs": 3, "batch_size": 64, "lr": 0.1, "precision": "float32"},
        retrain={"epochs": 1, "points": 3},
    )
    return run_study(config, directory, "command", said), said.lines


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole") / "run"
    ran(directory)
    return directory


def delivered(directory: Path) -> dict[str, bytes]:
    """Everything that is handed over."""
    files = [directory / "model.safetensors", *(directory / "front").rglob("*.safetensors"), *(directory / "front").rglob("bits.yaml")]
    return {str(file.relative_to(directory)): file.read_bytes() for file in files}


def test_each_point_is_a_network_of_its_own_within_the_range(whole: Path) -> None:
    summary = Summary.from_dict(json.loads((whole / "summary.json").read_text()))
    assert len(summary.front) == 2
    sizes = [point.artifact_bytes for point in summary.front]
    assert sizes == sorted(sizes)
    for point in summary.front:
        folder = whole / "front" / point.name
        assert {file.name for file in folder.iterdir()} == {"bits.yaml", "model.safetensors", "record.json"}
        assert (folder / "model.safetensors").stat().st_size == point.artifact_bytes == point.record.costs["size"] <= 2300
        assert load_bits(folder / "bits.yaml") == point.record.allocation
        assert len(point.record.curve) == 1
        assert summary.test[f"front/{point.name}"].metric > 0
        read_artifact(folder / "model.safetensors").install(digits_net())
    assert summary.winner.costs["size"] > sizes[-1]
    assert {trial.costs["size"] <= 2300 for trial in summary.trials} == {True}


@pytest.mark.parametrize("lost", ["model.safetensors", "record.json"])
def test_a_run_that_lost_a_point_ends_with_the_same_bytes(lost: str, whole: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(whole, tmp_path / "run")
    (directory / "summary.json").unlink()
    folder = sorted((directory / "front").iterdir())[1]
    (folder / lost).unlink()
    (folder / ".model.safetensors.0.part").write_bytes(b"left by a kill")
    ran(directory)
    assert delivered(directory) == delivered(whole)
    assert not list(directory.rglob(".*.part"))


def test_a_finished_run_makes_a_damaged_point_again(whole: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(whole, tmp_path / "run")
    file = next((directory / "front").rglob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1])
    _, said = ran(directory)
    assert any("gone or was damaged; it is made again" in line for line in said)
    assert delivered(directory) == delivered(whole)


def test_a_link_in_the_front_is_refused(whole: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(whole, tmp_path / "run")
    folder = next((directory / "front").iterdir())
    (folder / "bits.yaml").unlink()
    (folder / "bits.yaml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunDirectoryError, match="is a link"):
        ran(directory)


def test_points_can_be_picked(whole: Path) -> None:
    finished = open_finished(whole)
    point = finished.summary.front[0]
    picked = next(each for each in finished.measured if each.allocation == point.record.allocation)
    assert (picked.name, picked.basis) in {(f"front/{point.name}", basis) for basis in ("retrained", "calibrated")}
    assert picked.file == whole / "front" / point.name / "model.safetensors"
    budget = parse_budget(f"{point.artifact_bytes}B")
    assert Picker(finished).within([budget]).costs["size"] <= budget.limit


def test_one_allocation_of_a_range_is_refused() -> None:
    with pytest.raises(BudgetError, match=r"budget 2bit\.\.4bit is a range.*give one amount, or search a front"):
        allocate(tiny_study(budgets=["2bit..4bit"]))


@pytest.fixture(scope="module", params=range(2))
def searched(request: pytest.FixtureRequest) -> tuple[World, Posterior]:
    world = World(request.param, groups=5)
    world.budgets = [Budget("size", 1.6 * world.limit, "a..b", 0.5 * world.limit)]
    searcher = world.searcher()
    return world, Posterior(searcher, played(searcher, world.loss, 16)[0])


@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_points_span_the_range_and_are_nearly_the_best_there_are(searched: tuple[World, Posterior], count: int) -> None:
    world, posterior = searched
    low, high = 0.5 * world.limit, 1.6 * world.limit
    top = posterior.best({"size": world.size}, [replace(world.budgets[0], least=None)])
    points = chosen_points(posterior, {"size": world.size}, world.budgets, (), top, count)
    assert len(points) == count - 1
    sizes = [world.size.total(point.allocation) for point in points]
    assert sizes == sorted(set(sizes))
    assert all(size < world.size.total(top) for size in sizes)
    if count > 2:
        assert sizes[0] <= 1.1 * low
        steps = np.diff(np.log([*sizes, world.size.total(top)]))
        assert steps.max() <= 0.75 * np.log(high / low)
    for point, size in zip(points, sizes, strict=True):
        assert world.loss(point.allocation) <= 1.25 * min(loss for picks, loss in world.losses.items() if world.sizes[picks] <= size)


def test_without_a_range_there_are_no_points() -> None:
    world = World(0, groups=4)
    searcher = world.searcher()
    posterior = Posterior(searcher, played(searcher, world.loss, 4)[0])
    top = Allocation(dict.fromkeys(world.space.names, Choice(2)))
    assert chosen_points(posterior, {"size": world.size}, world.budgets, (), top, 6) == []
