"""The module call that computes with a layer's weight: that of its own module, or of the nearest called parent.

`nn.MultiheadAttention` uses its `out_proj` without calling it, and any `forward` may use a weight of a child directly.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from mpsearch.core.errors import ModelError
from mpsearch.core.layer import Layer

__all__ = ["calling_modules", "check_called"]


def calling_modules(layer: Layer, called: Container[str]) -> tuple[tuple[str, str], ...]:
    """(path of a called module, name of the weight relative to it) for each module that holds the weight, without repetition.

    Args:
        layer: its module and aliases are considered.
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
    """Check that a copy of the model runs its own layers, not those of the original.

    Raises:
        ModelError: layers were called when the model was traced, but none is called in the copy.
    """
    seen = [layer for layer in layers if layer.input_elements and layer.axes is None]
    if seen and not any(layer.module in called for layer in seen):
        raise ModelError(
            f"a copy of the model does not call its own layers ('{seen[0].name}' and all others); "
            "define forward in the class instead of assigning a function to model.forward"
        )
