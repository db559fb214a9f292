"""`half_step`: `value = (code + ½) · scale`; the levels are symmetric, without a zero."""

from __future__ import annotations

from typing import ClassVar

from mpsearch.core.number_format import NUMBER_KINDS
from mpsearch.numbers.kinds.uniform import Uniform

__all__ = ["HalfStep"]


class HalfStep(Uniform):
    """Evenly spaced numbers, offset from zero by half a step."""

    name: ClassVar[str] = "half_step"
    letter: ClassVar[str] = "h"
    zero_points: ClassVar[bool] = False
    offset: ClassVar[float] = 0.5


NUMBER_KINDS.register(HalfStep.name)(HalfStep())
