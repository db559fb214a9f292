"""A study of methods that write their weights in different formats: what each trial costs is what its file takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

import mpsearch
from mpsearch.config.study import validate_study
from mpsearch.core.progress import Silent
from mpsearch.costs.base import CostInputs
from mpsearch.costs.size import size
from mpsearch.data.base import Splits, as_split
from mpsearch.numbers.formats import HALF, MULTIBIT, TERNARY, grid_format
from mpsearch.report.info import bits_info
from mpsearch.report.palette import UNIFORM
from mpsearch.run.experiment import assemble
from mpsearch.run.setup import assemble
from mpsearch.targets.packed.artifact import read_artifact
from mpsearch.targets.packed.layout import layer_bytes
from mpsearch.tasks.task import Task
from mpsearch.training.recipe import Recipe

RECIPE = Recipe(optimizer="adamw", lr=2e-3, batch_size=32, reestimate=32, precision="float32")


def vectors() -> TensorDataset:
    x = torch.randn(96, 6, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, (x.sum(1) > 0).long())


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 2)).eval()


def problem(methods: dict[str, Any]) -> Any:
    data = as_split(vectors())
    splits = Splits(name="", train=data, validation=data, test=None, classes=(), task=Task.classification(), fingerprint="")
    config = validate_study(
        {
            "name": "s",
            "data": {"source": "memory"},
            "model": {"factory": "m:f"},
            "space": {"name": "s", "weights": [1, 2, 4]},
            "budgets": ["2KB"],
            "methods": methods,
            "recipe": {},
            "device": "cpu",
        },
        label="",
    )
    return assemble(config, splits, mlp(), Silent(), check_limits=False).problem


def test_size_counts_the_largest_of_what_the_studys_methods_may_write() -> None:
    def of(*formats: Any) -> Any:
        return size(CostInputs(space=plain.space, formats=formats)).values

    plain = problem({"lsq": {}})
    np.testing.assert_array_equal(plain.costs["size"].values, of(grid_format))
    narrow = problem({"lsq": {"grid": "narrow"}})
    np.testing.assert_array_equal(narrow.costs["size"].values, of(lambda bits: {1: HALF, 2: TERNARY}.get(bits, UNIFORM)))
    assert narrow.costs["size"].values.sum() < plain.costs["size"].values.sum()
    listed = problem({"lsq": {"grid": ["narrow", "half"]}})
    np.testing.assert_array_equal(listed.costs["size"].values, plain.costs["size"].values)
    both = problem({"lsq": {"grid": ["narrow", "half"]}, "alq": {"extra_bases": {"low": 0, "high": 2}}})
    np.testing.assert_array_equal(both.costs["size"].values, of(grid_format, lambda bits: MULTIBIT))


def test_every_record_costs_what_its_own_method_writes(tmp_path: Path) -> None:
    result = mpsearch.search(
        mlp(),
        vectors(),
        vectors(),
        budget="2KB",
        space={"name": "s", "weights": [1, 2, 3, 4]},
        methods={"alq": {}, "lsq": {"grid": "narrow"}},
        signals=("measured",),
        recipe=RECIPE,
        effort="normal",
        trials=4,
        epochs=1,
        run_dir=tmp_path / "run",
        device="cpu",
        progress=False,
    )
    summary = result.summary
    winner = summary.winner
    assert winner is not None
    assert result.path.stat().st_size == summary.artifact_bytes == winner.costs["size"] <= 2000
    assert read_artifact(result.path).formats == summary.formats
    method = winner.params.get("method", "alq")
    assert set(summary.formats) <= ({"m"} if method == "alq" else {"h", "t", "u"})
    info = bits_info(summary)
    assert info.overhead_bytes is not None
    formats: dict[str, Any] = {"alq": lambda bits: MULTIBIT, "lsq": lambda bits: grid_format(bits, "narrow")}
    for record in (*summary.trials, winner, summary.uniform):
        assert record is not None
        format_of = formats[record.params.get("method", "alq")]
        sizes = [layer_bytes(layer, choice := record.allocation[layer.name], format_of(choice.weight.bits)) for layer in summary.layers]
        assert record.costs["size"] == info.overhead_bytes + sum(sizes)
        assert record.feasible == (record.costs["size"] <= 2000)
