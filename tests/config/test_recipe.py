from __future__ import annotations

import dataclasses

import pytest
from pydantic import ValidationError

from mpsearch.config import Range, load_study
from mpsearch.config.recipe import FloatRecipeConfig, RecipeConfig
from mpsearch.core.errors import ConfigError
from mpsearch.training.recipe import Recipe

DEFAULT = "digits_resnet18"


def test_recipe_ranges_are_searched_and_built() -> None:
    study = load_study(DEFAULT, {"recipe.lr": {"low": 0.001, "high": 0.1, "log": True}, "recipe.batch_size": 32})
    assert study.recipe.hyperparameters.ranges == {"lr": Range(low=0.001, high=0.1, log=True)}
    built = study.recipe.build({"epochs": 7})
    assert isinstance(built, Recipe)
    assert (built.epochs, built.batch_size) == (7, 32)
    assert built.lr == pytest.approx(0.01)


def test_the_fields_are_those_of_the_recipe() -> None:
    names = {field.name for field in dataclasses.fields(Recipe)}
    assert set(FloatRecipeConfig.model_fields) == names
    assert set(RecipeConfig.model_fields) == names - {"epochs"}


def test_defaults_are_those_of_the_recipe() -> None:
    assert FloatRecipeConfig().build() == Recipe()
    assert RecipeConfig().build() == Recipe()


def test_a_list_is_a_choice_and_the_first_one_stands_where_nothing_is_chosen() -> None:
    recipe = RecipeConfig(optimizer=["adamw", "sgd"], weight_decay={"low": 0.0, "high": 0.2})  # type: ignore[call-arg]
    assert recipe.hyperparameters.ranges == {"optimizer": ("adamw", "sgd"), "weight_decay": Range(low=0.0, high=0.2)}
    assert (recipe.build().optimizer, recipe.build().weight_decay) == ("adamw", 0.1)
    assert recipe.build({"optimizer": "sgd"}).optimizer == "sgd"


def test_wrong_values_are_found_by_type_and_by_rule() -> None:
    with pytest.raises(ValidationError, match="momentum"):
        RecipeConfig(momentum="much")  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"recipe\.momentum must be from 0 to below 1, not 2"):
        RecipeConfig(momentum=2).build()  # type: ignore[call-arg]
