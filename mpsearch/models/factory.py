"""`ModelFactory`, a registered model, and users' own factories: found, called, their errors reported in one line."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from torch import nn

from mpsearch.core.errors import ModelError, UsageError

__all__ = ["ModelFactory", "call_factory", "check_declared", "find_factory"]


@dataclass(frozen=True, kw_only=True)
class ModelFactory:
    """A registered model.

    Args:
        build: returns the untrained network; its keyword arguments are the model's options and have defaults.
        example_shape: shape of one input at the default options, without the batch axis.
        description: one line for `mpsearch list`.
        paper: authors, title, venue or arXiv number.
    """

    build: Callable[..., nn.Module]
    example_shape: tuple[int, ...]
    description: str
    paper: str

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the keyword arguments of `build`."""
        return tuple(inspect.signature(self.build).parameters)


def find_factory(reference: str) -> Callable[..., Any]:
    """Import the callable that `package.module:factory` names, if need be from the working directory.

    Raises:
        ModelError: there is no such module, it is of Python's standard library, its import fails, it has no such name, or that is not
            callable.
    """
    module_name, _, path = reference.partition(":")
    if not module_name or not path:
        raise ModelError(f"'{reference}' names no factory; write package.module:factory")
    if module_name.partition(".")[0] in sys.stdlib_module_names:
        raise ModelError(f"'{reference}' is of Python's standard library, which builds no networks; name a function of your own module")
    found: Any = _import(module_name, reference)
    for part in path.split("."):
        if not hasattr(found, part):
            raise ModelError(f"there is no '{path}' in module '{module_name}'; give the name of a function there that returns the network")
        found = getattr(found, part)
    if isinstance(found, nn.Module):
        raise ModelError(f"'{reference}' is a network, not a factory; write a function that returns it")
    if not callable(found):
        raise ModelError(f"'{reference}' is a {type(found).__name__} and cannot be called; give a function that returns the network")
    return found  # type: ignore[no-any-return]


def check_declared(reference: str) -> None:
    """Check that a factory which a file names declares to build a network, so that a file cannot have any other function called.

    Args:
        reference: `package.module:factory`; imported.

    Raises:
        ModelError: it is no `nn.Module` class, and its declared return is none.
    """
    factory = find_factory(reference)
    try:
        returned = factory if isinstance(factory, type) else get_type_hints(factory).get("return")
    except Exception:  # a hint that cannot be resolved can raise anything
        returned = None
    if not (isinstance(returned, type) and issubclass(returned, nn.Module)):
        raise ModelError(
            f"the study names the factory '{reference}', which does not declare to return a network; "
            "write '-> torch.nn.Module' at its definition, or name it yourself by --model"
        )


def call_factory(reference: str, factory: Callable[..., Any], options: Mapping[str, Any]) -> nn.Module:
    """Call `factory(**options)` and check that it returns a network.

    Raises:
        ModelError: it raises, or returns no `nn.Module`.
    """
    try:
        with _working_directory():  # what it imports when it is called
            model = factory(**options)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(f"the factory '{reference}' fails with {_summary(error)}; correct it or its options") from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"the factory '{reference}' returns a {type(model).__name__}; let it return a torch.nn.Module")
    return model


@contextmanager
def _working_directory() -> Iterator[None]:
    """Let modules be found in the working directory, after all other places.

    Not for longer than the code that the user named: the directory may be a stranger's, and libraries look for optional modules all the
    time.
    """
    here = str(Path.cwd())
    if here in sys.path or "" in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _import(name: str, reference: str) -> ModuleType:
    try:
        with _working_directory():
            return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        # A module that exists but imports a missing one raises the same type.
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and (name == missing or name.startswith(f"{missing}.")):
            raise ModelError(f"there is no module '{name}' for '{reference}'; install it, or run where '{missing}' lies") from error
        raise ModelError(f"importing '{name}' for '{reference}' fails with {_summary(error)}; correct it") from error


def _summary(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
