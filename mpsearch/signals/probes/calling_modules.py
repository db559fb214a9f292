"""Which module call computes with a layer's weight: its own module, or the nearest one around it that was called.

`nn.MultiheadAttention` uses its `out_proj` without calling it, and any `forward` may do the same with a weight it reaches into.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from mpsearch.core.errors import ModelError
from mpsearch.core.layer import Layer

__all__ = ["calling_modules", "check_called"]


def calling_modules(layer: Layer, called: Container[str]) -> tuple[tuple[str, str], ...]:
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


def check_called(layers: Sequence[Layer], called: Container[str]) -> None:
    """A copy of the model must run its own layers, not those of the original.

    Raises:
        ModelError: layers were called when the model was traced, and none is in the copy.
    """
    seen = [layer for layer in layers if layer.input_elements]
    if seen and not any(layer.module in called for layer in seen):
        raise ModelError(
            f"a copy of the model does not call its own layers ('{seen[0].name}' and all others); "
            "define forward in the class instead of assigning a function to model.forward"
        )
