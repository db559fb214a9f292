"""A study of methods that write their weights in different formats: what each trial costs is what its file takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import mpsearch
from mpsearch.config.study import validate_study
from mpsearch.core.errors import ConfigError
from mpsearch.core.number_format import NumberFormat, StoredAs
from mpsearch.core.progress import Silent
from mpsearch.costs.base import CostInputs
from mpsearch.costs.size import size
from mpsearch.data.base import Splits, as_split
from mpsearch.numbers.grid import stored_as_grid
from mpsearch.report.info import bits_info
from mpsearch.run.setup import assemble
from mpsearch.targets.packed.artifact import read_artifact
from mpsearch.targets.packed.layout import layer_bytes
from mpsearch.tasks.task import Task
from mpsearch.training.recipe import Recipe

RECIPE = Recipe(optimizer="adamw", lr=2e-3, batch_size=32, reestimate=32, precision="float32")


def planes(asked: NumberFormat) -> NumberFormat:
    return NumberFormat("multibit", asked.bits)


def narrow(asked: NumberFormat) -> NumberFormat:
    return {1: NumberFormat("half_step", 1), 2: NumberFormat("ternary", 2)}.get(asked.bits, asked)


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
    np.testing.assert_array_equal(plain.costs["size"].values, of(stored_as_grid))
    thin = problem({"lsq": {"grid": "narrow"}})
    np.testing.assert_array_equal(thin.costs["size"].values, of(narrow))
    assert thin.costs["size"].values.sum() < plain.costs["size"].values.sum()
    listed = problem({"lsq": {"grid": ["narrow", "half"]}})
    np.testing.assert_array_equal(listed.costs["size"].values, plain.costs["size"].values)
    both = problem({"lsq": {"grid": ["narrow", "half"]}, "alq": {"extra_bases": {"low": 0, "high": 2}}})
    np.testing.assert_array_equal(both.costs["size"].values, of(stored_as_grid, planes))


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
    assert result.path.stat().st_size == summary.artifact_bytes == winner.costs["size"] <= 2000
    assert tuple(choice.weight for choice in read_artifact(result.path).allocation.values()) == summary.formats
    method = winner.params.get("method", "alq")
    stores: dict[str, StoredAs] = {"alq": planes, "lsq": narrow}
    assert summary.formats == tuple(stores[method](winner.allocation[layer.name].weight) for layer in summary.layers)
    info = bits_info(summary)
    assert info.overhead_bytes is not None
    for record in (*summary.trials, winner, summary.uniform):
        assert record is not None
        written = stores[record.params.get("method", "alq")]
        choices = [record.allocation[layer.name] for layer in summary.layers]
        stored = [format for choice in choices if (format := written(choice.weight)) is not None]
        sizes = [layer_bytes(each, format, c.activation) for each, format, c in zip(summary.layers, stored, choices, strict=True)]
        assert record.costs["size"] == info.overhead_bytes + sum(sizes)
        assert record.feasible == (record.costs["size"] <= 2000)


def test_the_search_mixes_formats_that_stand_on_one_menu(tmp_path: Path) -> None:
    """Ternary numbers take 1.6 bits, four levels 2: within 1.8 bits a weight, some layers take the ones and some the others."""
    result = mpsearch.search(
        mlp(),
        vectors(),
        vectors(),
        budget="1.8bit",
        space={"name": "s", "weights": ["t", 2, 4]},
        signals=("measured",),
        recipe=RECIPE,
        trials=2,
        epochs=1,
        run_dir=tmp_path / "run",
        device="cpu",
        progress=False,
    )
    winner = result.summary.winner
    chosen = {str(choice) for choice in result.summary.mixed.allocation.values()}
    assert chosen > {"wtaf"}
    assert chosen <= {"wtaf", "w2af", "w4af"}
    assert winner.costs["bits"] <= 1.8
    assert result.path.stat().st_size == winner.costs["size"]
    stored = read_artifact(result.path).allocation
    assert {name for name, choice in stored.items() if choice.weight.kind == "ternary"} == {
        name for name, choice in winner.allocation.items() if choice.weight.kind == "ternary"
    }
    x = vectors().tensors[0]
    with torch.no_grad():
        assert torch.equal(mpsearch.load(result.path, mlp())(x), result.model(x))
    report = (tmp_path / "run" / "front.html").read_text(encoding="utf-8")
    assert "ternary" in report


def test_a_method_that_cannot_train_a_format_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"methods\.alq: alq cannot train weights of the format 't', which is on the menu of layer '0'"):
        mpsearch.search(
            mlp(),
            vectors(),
            vectors(),
            budget="2KB",
            space={"name": "s", "weights": ["t", 2]},
            methods=["lsq", "alq"],
            run_dir=tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()
