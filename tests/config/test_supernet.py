from __future__ import annotations

import dataclasses

import pytest
from pydantic import ValidationError

from mpsearch.config.supernet import SupernetConfig
from mpsearch.training.recipe import Recipe
from mpsearch.training.supernet import SupernetRecipe


def test_defaults_are_those_of_the_supernet() -> None:
    recipe = SupernetRecipe(recipe=Recipe())
    shared = {field.name for field in dataclasses.fields(SupernetRecipe)} & set(SupernetConfig.model_fields)
    assert shared == {"draws", "images"}
    assert all(getattr(SupernetConfig(), name) == getattr(recipe, name) for name in shared)


@pytest.mark.parametrize(("name", "least"), [("epochs", 1), ("draws", 0), ("images", 1)])
def test_the_least_values(name: str, least: int) -> None:
    assert getattr(SupernetConfig(**{name: least}), name) == least
    with pytest.raises(ValidationError, match=f"{name}\n.*greater than or equal to {least}"):
        SupernetConfig(**{name: least - 1})
