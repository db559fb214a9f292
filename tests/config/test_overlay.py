from __future__ import annotations

import copy

import pytest

from mpsearch.config.overlay import overlay, replaced
from mpsearch.core.errors import ConfigError

BASE = {"recipe": {"lr": 0.1, "clip": 0}, "budgets": ["2MB", "5ms"], "seed": 0}


def test_mappings_merge_and_everything_else_is_replaced() -> None:
    changed = overlay(BASE, {"recipe": {"lr": 0.2}, "budgets": ["1MB"], "seed": {"a": 1}, "new": {"b": 2}})
    assert changed == {"recipe": {"lr": 0.2, "clip": 0}, "budgets": ["1MB"], "seed": {"a": 1}, "new": {"b": 2}}


def test_a_key_at_a_path_is_set() -> None:
    assert replaced(BASE, "recipe.lr", 0.3)["recipe"] == {"lr": 0.3, "clip": 0}
    assert replaced(BASE, "seed", 1) == {**BASE, "seed": 1}
    assert replaced(BASE, "space.pins.fc", "w4")["space"] == {"pins": {"fc": "w4"}}
    assert replaced(BASE, "seed.low", 1)["seed"] == {"low": 1}, "a value in the way gives way"


def test_the_base_stays_as_it_is() -> None:
    kept = copy.deepcopy(BASE)
    overlay(BASE, {"recipe": {"lr": 9}})
    replaced(BASE, "recipe.lr", 9)
    assert kept == BASE


@pytest.mark.parametrize("path", ["", ".", ".lr", "recipe.", "recipe..lr"])
def test_paths_with_an_empty_part(path: str) -> None:
    with pytest.raises(ConfigError, match=r"is no path of a key; write it like recipe\.lr"):
        replaced(BASE, path, 1)
