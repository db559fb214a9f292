from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from mpsearch.cli.options import command_line, overrides_from, read_config
from mpsearch.core.errors import BudgetError, ConfigError, UsageError


@pytest.mark.parametrize(
    ("flags", "changes"),
    [
        ({}, {}),
        ({"trials": None, "seed": 0}, {"seed": 0}),
        ({"trials": 3, "epochs": 0, "images": 64}, {"search.trials": 3, "retrain.epochs": 0, "signals.images": 64}),
        ({"evaluate": "supernet"}, {"search.evaluate": "supernet"}),
        ({"budgets": ("2MB", "5ms")}, {"budgets": ["2MB", "5ms"]}),
        ({"budgets": ()}, {}),
        ({"methods": "lsq, ste", "signals": "fisher"}, {"methods": ["lsq", "ste"], "signals.names": ["fisher"]}),
        ({"data": "imagefolder:C:/my images"}, {"data.source": "imagefolder", "data.path": "C:/my images"}),
        ({"data": "digits"}, {"data.source": "digits", "data.path": None}),
        ({"model": "pkg.mod:my_net"}, {"model.factory": "pkg.mod:my_net", "name": "my_net"}),
        ({"model": "torchvision/resnet18"}, {"model.factory": "torchvision/resnet18", "name": "torchvision-resnet18"}),
        ({"settings": ("recipe.lr=1e-3", "recipe.augment=false")}, {"recipe.lr": 0.001, "recipe.augment": False}),
        ({"settings": ("recipe.lr={low: 0.1, high: 1}",)}, {"recipe.lr": {"low": 0.1, "high": 1}}),
        ({"trials": 3, "settings": ("search.trials=4",)}, {"search.trials": 4}),
        ({"timeout": "5min"}, {"search.timeout": "5min", "search.trials": 1000}),
        ({"keep": "99%"}, {"keep": {"share": 0.99}, "budgets": []}),
        ({"max_drop": 0.5, "cost": "latency", "budgets": ("2MB",)}, {"keep": {"drop": 0.5, "cost": "latency"}, "budgets": ["2MB"]}),
        ({"until_flat": True, "trials": 40}, {"search.until_flat": True, "search.trials": 40}),
    ],
)
def test_flags_become_changes(flags: dict[str, Any], changes: dict[str, Any]) -> None:
    assert overrides_from(flags) == changes


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"keep": "99%", "max_drop": 1.0}, "--keep and --max-drop ask for two bounds"),
        ({"keep": "much"}, "'much' is no share of the float metric; give one such as 99% or 0.99"),
        ({"max_drop": -0.5}, "--max-drop -0.5: give a number of at least 0"),
        ({"cost": "bits"}, "--cost bits says what is to be small with --keep or --max-drop"),
    ],
)
def test_what_is_no_bound_is_one_line(flags: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        overrides_from(flags)


def test_time_and_prospects_reach_the_study() -> None:
    search = read_config({"timeout": "5min", "until_flat": True}).search
    assert (search.timeout, search.until_flat, search.trials) == (300.0, True, 1000)
    assert read_config({}).search.timeout is None
    with pytest.raises(ConfigError, match=r"search\.timeout: 'soon' cannot be read"):
        read_config({"timeout": "soon"})


def test_bad_flags() -> None:
    with pytest.raises(BudgetError):
        overrides_from({"budgets": ("2MB", "3")})
    with pytest.raises(ConfigError):
        overrides_from({"settings": ("=1",)})


def test_reading_a_study_makes_nothing_importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before = list(sys.path)
    read_config({})
    read_config({"model": "pkg.mod:my_net"})
    assert sys.path == before


def test_anyones_model_on_anyones_images() -> None:
    study = read_config({"model": "pkg.mod:my_net", "weights": "w.safetensors", "data": "imagefolder:/images", "budgets": ("80KB",)})
    assert study.name == "my_net"
    assert (study.model.factory, study.model.weights) == ("pkg.mod:my_net", "w.safetensors")
    assert study.data.reference == "imagefolder:/images"
    assert study.run_name == "my_net-80KB"


def test_the_command_line_is_kept_without_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["mpsearch", "study", "--storage", "postgresql://me:s3cret@host/db", "--seed", "3"])
    assert command_line() == "mpsearch study --storage postgresql://me:***@host/db --seed 3"
