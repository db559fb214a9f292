"""`SupernetConfig`: how the shared weights of `search.evaluate: supernet` are trained and scored."""

from __future__ import annotations

from pydantic import Field

from mpsearch.config.strict import Strict

__all__ = ["SupernetConfig"]


class SupernetConfig(Strict):
    """Shared weights; the rest of their training is set by `recipe`."""

    epochs: int = Field(default=8, ge=1, description="epochs of training; each step trains 2 + draws allocations")
    draws: int = Field(default=2, ge=0, description="random allocations per step, besides the largest and the smallest")
    images: int = Field(default=128, ge=1, description="training images on which BatchNorm is re-estimated for each score")
