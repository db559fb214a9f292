"""`SupernetConfig`: how the shared weights of `search.evaluate: supernet` are trained, and what a score of theirs reads."""

from __future__ import annotations

from pydantic import Field

from mpsearch.config.strict import Strict

__all__ = ["SupernetConfig"]


class SupernetConfig(Strict):
    """The shared weights; everything else of their training stands in `recipe`."""

    epochs: int = Field(default=8, ge=1, description="epochs of the one training run; each step trains 2 + draws allocations")
    draws: int = Field(default=2, ge=0, description="random allocations a step, beside the largest and the smallest")
    images: int = Field(default=128, ge=1, description="training images that BatchNorm is re-estimated on for each score")
