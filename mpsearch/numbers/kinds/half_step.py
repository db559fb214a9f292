"""`half_step`: `value = (code + ½) · scale`; all codes are used symmetrically, and there is no zero."""

from __future__ import annotations

from typing import ClassVar

from mpsearch.core.number_format import NUMBER_KINDS
from mpsearch.numbers.kinds.uniform import Uniform

__all__ = ["HalfStep"]


class HalfStep(Uniform):
    """Evenly spaced numbers, half a step off zero."""

    name: ClassVar[str] = "half_step"
    letter: ClassVar[str] = "h"
    zero_points: ClassVar[bool] = False
    offset: ClassVar[float] = 0.5


NUMBER_KINDS.register(HalfStep.name)(HalfStep())
