"""Plug-in registries: one package is one family, one file is one member.

A family's `__init__` makes a `Registry`; members register themselves with the decorator. Nothing is imported until somebody
looks a name up, so `import mpsearch` stays light and `mpsearch list` sees every file that was dropped into the folder.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from mpsearch.core.errors import UnknownNameError

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Names → plug-ins of one family.

    Args:
        kind: what a member is called in messages, such as `"method"`.
        packages: dotted packages whose modules are the members; imported on first use. Modules whose name starts with `_` are skipped.
    """

    def __init__(self, kind: str, *packages: str) -> None:
        self.kind = kind
        self._packages = packages
        self._members: dict[str, T] = {}
        self._discovered = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files a plug-in under `name`.

        Raises:
            ValueError: the name is taken by another object.
        """

        def file_under(member: T) -> T:
            if name in self._members and self._members[name] is not member:
                raise ValueError(f"{self.kind} '{name}' is registered twice; names are unique")
            self._members[name] = member
            return member

        return file_under

    def __getitem__(self, name: str) -> T:
        self._discover()
        if name not in self._members:
            raise UnknownNameError(self.kind, name, self.names())
        return self._members[name]

    def __contains__(self, name: object) -> bool:
        self._discover()
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def names(self) -> tuple[str, ...]:
        """All registered names, sorted."""
        self._discover()
        return tuple(sorted(self._members))

    def items(self) -> tuple[tuple[str, T], ...]:
        """(name, member) pairs, sorted by name."""
        return tuple((name, self._members[name]) for name in self.names())

    def _discover(self) -> None:
        if self._discovered:
            return
        for name in self._packages:
            package = importlib.import_module(name)
            for module in pkgutil.iter_modules(package.__path__):
                if not module.name.startswith("_"):
                    importlib.import_module(f"{name}.{module.name}")
        self._discovered = True
