"""The space of a run as plain numbers: what was written is read, and what a stranger made up is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mpsearch.core.errors import RunDirectoryError
from mpsearch.core.progress import Silent
from mpsearch.data.fingerprint import content_digest
from mpsearch.run import run_study
from mpsearch.run.directory import SPACE
from mpsearch.run.kept_space import kept_space
from tests.run.tiny import tiny_setup, tiny_study


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("ended") / "run"
    run_study(tiny_study(retrain={"epochs": 0, "uniform": False}), directory, "command", Silent())
    return directory


def test_space_and_costs_are_those_of_the_run(ended: Path) -> None:
    kept, problem = kept_space(ended), tiny_setup(tiny_study()).problem
    assert (kept.space.layers, kept.space.menus, kept.space.groups) == (problem.space.layers, problem.space.menus, problem.space.groups)
    allocation = problem.space.uniform(problem.space.choices[1])
    for exact in (True, False):
        costs = kept.costs(exact=exact)
        assert {name: cost.total(allocation) for name, cost in costs.items()} == problem.amounts(allocation)


def test_bytes_are_those_of_the_file(ended: Path) -> None:
    summary = json.loads((ended / "summary.json").read_text())
    kept = kept_space(ended)
    allocation = kept.space.check(type(kept.space.uniform(kept.space.choices[0])).from_dict(summary["winner"]["allocation"]))
    assert kept.costs(exact=True)["size"].total(allocation) == (ended / "model.safetensors").stat().st_size


FORGERIES: list[Callable[[dict[str, Any]], object]] = [
    lambda plain: plain["space"].update(groups=[[0], [1], [7]]),
    lambda plain: plain["space"].update(groups=[[0], [1]]),
    lambda plain: plain["space"].update(menus=[[], [], []]),
    lambda plain: plain["space"]["menus"].pop(),
    lambda plain: plain["space"].update(groups=[[0, 1], [2]]) or plain["space"]["menus"][0].pop(),
    lambda plain: plain["space"]["layers"].append(plain["space"]["layers"][0]),
    lambda plain: plain["exact"].pop("size"),
    lambda plain: plain["exact"].update(size=[]),
    lambda plain: plain["bounds"]["size"][0].update(layers=["a", "b", "c"]),
    lambda plain: plain["bounds"]["size"][0].update(base=float("inf")),
    lambda plain: plain["exact"]["size"][0]["values"][0].__setitem__(0, None),
    lambda plain: plain.update(evil=1),
]


@pytest.mark.parametrize("place", range(len(FORGERIES)))
def test_a_forged_space_is_one_line(place: int, ended: Path, tmp_path: Path) -> None:
    plain = json.loads((ended / SPACE).read_text())
    FORGERIES[place](plain["result"])
    (tmp_path / SPACE).write_text(json.dumps({**plain, "digest": content_digest([json.dumps(plain["result"])])}))
    with pytest.raises(RunDirectoryError, match="is damaged"):
        kept_space(tmp_path)


def test_without_a_space_the_cure_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"holds no space.json.*repeat the command of that run in another --run-dir"):
        kept_space(tmp_path)
