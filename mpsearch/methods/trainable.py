"""Check that a study's methods can train all formats of its space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mpsearch.core.errors import ConfigError
from mpsearch.core.space import ResolvedSpace
from mpsearch.methods.base import Method

__all__ = ["check_trainable"]


def check_trainable(space: ResolvedSpace, methods: Mapping[str, Sequence[Method]]) -> None:
    """Check that every method can train every format on the menus.

    Args:
        space: layers and menus.
        methods: name → the method with every combination of its listed settings.

    Raises:
        ConfigError: a method cannot train a format; the message names method, format and layer.
    """
    for name, variants in methods.items():
        for layer, menu in zip(space.layers, space.menus, strict=True):
            for choice in menu:
                for what, stored in (
                    (f"weights of the format '{choice.weight}'", [method.stores(choice.weight) for method in variants]),
                    (f"inputs of the format '{choice.activation}'", [method.stores_input(choice.activation) for method in variants]),
                ):
                    if None in stored:
                        raise ConfigError(
                            f"methods.{name}: {name} cannot train {what}, which is on the menu of layer '{layer.name}'; "
                            f"take it off the menu, or leave {name} out",
                            path=f"methods.{name}",
                        )
