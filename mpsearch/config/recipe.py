"""Recipes of a study: the fields of `training.recipe.Recipe`, each of which may be searched.

The epochs of quantization-aware training are set by the rungs and by `retrain`, so only the float recipe has epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mpsearch.config.hyperparameters import SearchableSettings, hyperparameter_model, split_settings
from mpsearch.config.strict import Strict
from mpsearch.training.recipe import Recipe

__all__ = ["FloatRecipeConfig", "RecipeConfig"]


class _RecipeBase(Strict):
    @property
    def hyperparameters(self) -> SearchableSettings:
        """Fixed settings and settings to search."""
        return split_settings({name: getattr(self, name) for name in type(self).model_fields}, Recipe)

    def build(self, chosen: Mapping[str, Any] | None = None) -> Recipe:
        """Build the recipe.

        Args:
            chosen: settings of a trial, and `epochs`; a searched setting that is missing takes the middle of its range or its first choice.
        """
        return self.hyperparameters.build(Recipe, chosen)


if TYPE_CHECKING:

    class RecipeConfig(_RecipeBase):
        """Fields of `Recipe` except `epochs`."""

    class FloatRecipeConfig(_RecipeBase):
        """Fields of `Recipe`."""
else:
    RecipeConfig = hyperparameter_model(Recipe, "RecipeConfig", base=_RecipeBase, without=("epochs",))
    FloatRecipeConfig = hyperparameter_model(Recipe, "FloatRecipeConfig", base=_RecipeBase)
