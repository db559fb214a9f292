"""Every number format there is."""

from __future__ import annotations

from itertools import product

from mpsearch.core.errors import ConfigError
from mpsearch.core.number_format import FLOAT, GROUPS, NUMBER_KINDS, NumberFormat


def every_format() -> list[NumberFormat]:
    """All that can be built from all that could be asked for."""
    found = [FLOAT]
    for kind, bits, shared, zero in product(NUMBER_KINDS, range(10), ("tensor", "channel", *GROUPS), (False, True)):
        try:
            found.append(NumberFormat(kind, bits, shared, zero))  # type: ignore[arg-type]
        except ConfigError:
            continue
    return found


FORMATS = every_format()
