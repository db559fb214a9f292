"""Modes and other attributes of modules for one `with` block, restored module by module, also after an exception."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

__all__ = ["evaluating", "modes_kept", "temporarily"]


def evaluating(model: nn.Module) -> nn.Module:
    """The model, set to evaluation mode; a user's `train` need not return the model, as torch's does."""
    model.eval()
    return model


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Restore the mode of every module after the `with` block.

    `model.train(was_training)` would set all modules to the mode of the outermost, and modules may override `train` and `eval`.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def temporarily(objects: Iterable[Any], name: str, value: Any) -> Iterator[None]:
    """Give an attribute of every object another value for the `with` block."""
    before = [(each, getattr(each, name)) for each in objects]
    for each, _ in before:
        setattr(each, name, value)
    try:
        yield
    finally:
        for each, own in before:
            setattr(each, name, own)
