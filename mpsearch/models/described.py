"""`build_described`: the network that a file describes, within what a file of that size can describe.

A file can be forged. Its options are plain values, never paths; and building stops, before anything is allocated, at the module or tensor
by which the network has more values than the file can hold.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook
from torch.overrides import TorchFunctionMode

from mpsearch.core.errors import ArtifactError
from mpsearch.models import build_model

__all__ = ["build_described"]

_SLACK, _SPARE = 4, 100_000
"""Factor and summand by which a network may exceed the bits of its file while it is built: a factory may replace modules, or share them."""
_ALLOCATING = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.randint, torch.arange, torch.linspace}
_WORD = re.compile(r"[A-Za-z0-9_.+-]{0,64}")
_LARGEST = 2**31


class _TooLarge(BaseException):
    """Ends the building of a network; a factory that catches exceptions does not keep it."""


def build_described(reference: str, options: Mapping[str, Any], bits: int) -> nn.Module:
    """Build the network of a file.

    Args:
        reference: a registered name; or `package.module:factory` that the caller has named, not the file.
        options: keyword arguments of the factory, as the file says.
        bits: bits of all numbers in the file.

    Raises:
        ArtifactError: the options are no plain values, or describe a network that the file cannot hold.
        ModelError: the factory fails with these options.
    """
    for name, value in options.items():
        if not _is_literal(value):
            raise ArtifactError(f"the file gives the model's option '{name}' the value {value!r:.60}, which is no plain one; get it again")
    try:
        with _bounded(_SLACK * bits + _SPARE):
            return build_model(reference, options)
    except _TooLarge:
        raise ArtifactError(
            f"the file describes a '{reference}' of more numbers than it holds ({dict(options)!r:.100}); get it again"
        ) from None


def _is_literal(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) <= 64 and all(map(_is_literal, value))
    if isinstance(value, str):
        return _WORD.fullmatch(value) is not None
    return value is None or (isinstance(value, bool | int | float) and -_LARGEST < value < _LARGEST)


@contextmanager
def _bounded(values: int) -> Iterator[None]:
    """Stop a construction that needs more values, counting a module as one, before they are allocated."""
    left = values

    def take(count: int) -> None:
        nonlocal left
        left -= count
        if left < 0:
            raise _TooLarge

    class Allocations(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
            if func in _ALLOCATING:
                take(_values(args, kwargs or {}))
            return func(*args, **(kwargs or {}))

    hook = register_module_module_registration_hook(lambda module, name, child: take(1))
    try:
        with Allocations():
            yield
    finally:
        hook.remove()


def _values(args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """Values of the tensor that a call allocates: the product of its sizes."""
    first = kwargs.get("size", args[0] if args else 0)
    sizes = first if isinstance(first, tuple | list) else args
    return math.prod(abs(int(size)) for size in sizes if isinstance(size, int | float))
