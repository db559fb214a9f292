"""The bits of a trial as one line: `w4a8*12 w2a8 w8a8`, the choices of the layers in order, a run of equal ones written once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError

__all__ = ["bits_text", "read_bits"]


def bits_text(allocation: Allocation) -> str:
    """The bits of an allocation; `read_bits` is the inverse."""
    runs = ((str(choice), len(list(equal))) for choice, equal in groupby(allocation.values()))
    return " ".join(choice if length == 1 else f"{choice}*{length}" for choice, length in runs)


def read_bits(text: str, layers: Sequence[str]) -> Allocation:
    """The allocation in the text of a trial.

    Args:
        text: see `bits_text`.
        layers: names of all layers, in order.

    Raises:
        ConfigError: it is no such text, or one of another number of layers.
    """
    choices: list[Choice] = []
    for word in text.split(" ") if isinstance(text, str) else ():
        choice, _, times = word.partition("*")
        length = int(times) if times.isdecimal() and len(times) < len(str(len(layers))) + 1 else 1 if not times else 0
        choices += [_choice(choice)] * min(length, len(layers) + 1)
        if not length or len(choices) > len(layers):
            break
    if len(choices) != len(layers):
        raise ConfigError(f"bits: the choices of {len(layers)} layers are needed, such as 'w4a8*{len(layers)}', not {str(text)[:80]!r}")
    return Allocation(dict(zip(layers, choices, strict=True)))


@lru_cache(maxsize=4096)
def _choice(text: str) -> Choice:
    return Choice.parse(text, path="bits")
