"""`build_described`: the network that a file describes, within what a file of that size can describe.

A file can be forged. Its options are plain values, never paths; and before anything is allocated, the network is built without memory (on
PyTorch's meta device), until it has more values than the file has bits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from mpsearch.core.errors import ArtifactError
from mpsearch.models import build_model, is_registered

__all__ = ["build_described"]

_SLACK, _SPARE = 4, 100_000
"""Factor and summand by which a network may exceed the bits of its file while it is built: a factory may replace modules, or share them."""
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
        if not _is_plain(value):
            raise ArtifactError(f"the file gives the model's option '{name}' the value {value!r:.60}, which is no plain one; get it again")
    try:
        if is_registered(reference):
            with torch.device("meta"), _bounded(bits):
                build_model(reference, options)
        with _bounded(bits):
            return build_model(reference, options)
    except _TooLarge:
        raise ArtifactError(
            f"the file describes a '{reference}' of more numbers than it holds ({dict(options)!r:.100}); get it again"
        ) from None


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) <= 64 and all(map(_is_plain, value))
    if isinstance(value, str):
        return _WORD.fullmatch(value) is not None
    return value is None or (isinstance(value, bool | int | float) and -_LARGEST < value < _LARGEST)


@contextmanager
def _bounded(bits: int) -> Iterator[None]:
    """Stop a construction that registers more values and modules than `bits` allows."""
    left = _SLACK * bits + _SPARE

    def registered(module: nn.Module, name: str, value: nn.Module | Tensor | None) -> None:
        nonlocal left
        left -= value.numel() if isinstance(value, Tensor) else 1
        if left < 0:
            raise _TooLarge

    hooks = [
        register(registered)
        for register in (
            register_module_parameter_registration_hook,
            register_module_buffer_registration_hook,
            register_module_module_registration_hook,
        )
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
