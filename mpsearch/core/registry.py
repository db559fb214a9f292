"""Plug-in registries: a package is a family of plug-ins, a module in it one member.

A family's `__init__` creates a `Registry`; members register themselves with the decorator. Modules are imported at the first lookup, so
`import mpsearch` stays fast and `mpsearch list` shows every module in the package.

Another installed package can provide a member by an entry point. The group is the dotted name of the family, the name that of the
member, and the value the module that registers it:

```toml
[project.entry-points."mpsearch.methods"]
mine = "my_package.my_method"
```
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from mpsearch.core.errors import UnknownNameError

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Names → plug-ins of one family.

    Args:
        kind: word for a member in messages, such as `"method"`.
        packages: dotted names of the packages whose modules are the members; imported on first use. Modules whose name starts with `_`
            are skipped. The first name is also the group of entry points.
    """

    def __init__(self, kind: str, *packages: str) -> None:
        self.kind = kind
        self._packages = packages
        self._members: dict[str, T] = {}
        self._broken: list[str] = []
        self._discovered = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that registers a plug-in under `name`.

        Raises:
            ValueError: another object has the name.
        """

        def file_under(member: T) -> T:
            if name in self._members and self._members[name] is not member:
                raise ValueError(f"{self.kind} '{name}' is registered twice; names are unique")
            self._members[name] = member
            return member

        return file_under

    @contextmanager
    def temporarily(self, name: str, member: T) -> Iterator[T]:
        """Register `member` under `name` for a `with` block, in place of any other member of that name."""
        self._discover()
        previous = self._members.get(name)
        self._members[name] = member
        try:
            yield member
        finally:
            del self._members[name]
            if previous is not None:
                self._members[name] = previous

    def __getitem__(self, name: str) -> T:
        self._discover()
        if name not in self._members:
            raise UnknownNameError(self.kind, name, self.names(), self.broken())
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

    def broken(self) -> tuple[str, ...]:
        """One line for each plug-in of another package that could not be loaded: the package, the error and the remedy."""
        self._discover()
        return tuple(self._broken)

    def _discover(self) -> None:
        if self._discovered:
            return
        for name in self._packages:
            package = importlib.import_module(name)
            for module in pkgutil.iter_modules(package.__path__):
                if not module.name.startswith("_"):
                    importlib.import_module(f"{name}.{module.name}")
        self._discovered = True  # from here on, a plug-in can look up members while it is imported
        for entry in sorted(importlib.metadata.entry_points(group=self._packages[0]), key=lambda entry: (entry.name, entry.value)):
            self._load(entry)

    def _load(self, entry: importlib.metadata.EntryPoint) -> None:
        """Import the module of an entry point; any exception in that foreign code becomes a line of `broken`."""
        try:
            entry.load()
            problem = "" if entry.name in self._members else f"'{entry.value}' registers no {self.kind} of that name"
        except Exception as error:
            first = str(error).strip().partition("\n")[0]
            problem = f"{type(error).__name__}: {first}" if first else type(error).__name__
        if problem:
            package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"
            self._broken.append(
                f"{self.kind} '{entry.name}' of the package {package} could not be loaded ({problem}); update or uninstall it"
            )
