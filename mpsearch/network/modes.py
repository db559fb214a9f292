"""`modes_kept`: training and evaluation modes, restored module by module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["modes_kept"]


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Restore the mode of every module after the `with` block, also after an exception.

    `model.train(was_training)` would set all modules to the mode of the outermost, and modules may override `train` and `eval`.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
