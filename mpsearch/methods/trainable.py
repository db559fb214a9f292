"""Whether a study's methods can train what its space offers; asked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mpsearch.core.errors import ConfigError
from mpsearch.core.space import ResolvedSpace
from mpsearch.methods.base import Method

__all__ = ["check_trainable"]


def check_trainable(space: ResolvedSpace, methods: Mapping[str, Sequence[Method]]) -> None:
    """Refuse a format on a menu that one of the methods cannot train.

    Args:
        space: layers and menus.
        methods: by name, with every combination of their listed settings.

    Raises:
        ConfigError: names method, format and a layer that has it on its menu.
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
