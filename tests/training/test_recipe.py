from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from mpsearch.core.errors import ConfigError
from mpsearch.training.recipe import Recipe

EDGES: list[tuple[str, list[Any], list[Any]]] = [
    ("epochs", [0, 1], [-1]),
    ("batch_size", [1], [0]),
    ("lr", [1e-9], [0, -0.1, float("nan")]),
    ("scale_lr", [0, 5], [-0.1]),
    ("momentum", [0, 0.999], [1, -0.1]),
    ("weight_decay", [0, 1], [-1e-9]),
    ("warmup", [0, 0.999], [1, -0.1]),
    ("final_lr", [0, 1], [1.1, -0.1]),
    ("distill", [0, 1], [1.1, -0.1]),
    ("temperature", [0.1], [0]),
    ("clip", [0, 1], [-1]),
    ("reestimate", [0, 1], [-1]),
]


@pytest.mark.parametrize(("name", "good", "bad"), EDGES, ids=[name for name, _, _ in EDGES])
def test_every_number_has_a_range(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert getattr(Recipe(**{name: value}), name) == value
    for value in bad:
        with pytest.raises(ConfigError, match=rf"^recipe\.{name} must be .*, not {value!r}$") as caught:
            Recipe(**{name: value})
        assert caught.value.path == f"recipe.{name}"


def test_no_number_is_without_a_rule() -> None:
    numbers = {field.name for field in dataclasses.fields(Recipe) if field.type in ("int", "float")}
    assert numbers == {name for name, _, _ in EDGES}


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().lr = 1.0  # type: ignore[misc]
