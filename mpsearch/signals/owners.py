"""Which module call computes with a layer's weight: its own module, or the nearest one around it that was called.

`nn.MultiheadAttention` uses its `out_proj` without calling it, and any `forward` may do the same with a weight it reaches into.
"""

from __future__ import annotations

from collections.abc import Container

from mpsearch.core.layer import Layer

__all__ = ["calling_owners"]


def calling_owners(layer: Layer, called: Container[str]) -> tuple[tuple[str, str], ...]:
    """(path of a called module, name of the weight relative to it), one for each place that holds the weight, without repetition.

    Args:
        layer: its module and aliases are looked at.
        called: paths of the modules that were called; the whole model (`""`) counts as called.
    """
    paths = [f"{layer.module}.{layer.parameter}".lstrip("."), *layer.aliases]
    found: dict[tuple[str, str], None] = {}
    for path in paths:
        owner, _, parameter = path.rpartition(".")
        while owner and owner not in called:
            owner, _, step = owner.rpartition(".")
            parameter = f"{step}.{parameter}"
        found[owner, parameter] = None
    return tuple(found)
