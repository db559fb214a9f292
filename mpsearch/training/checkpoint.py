"""`Checkpoint`: one file to resume a training from, written atomically and loaded without executing code."""

from __future__ import annotations

import copy
import errno
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.core.files import replacing

__all__ = ["Checkpoint", "load_state", "save_state"]


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """`torch.save`, atomically.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # PyTorch's own writer does not say that the disk is full
            raise OSError(errno.EIO, f"cannot be written ({str(error).partition(chr(10))[0]}); is the disk full?", str(path)) from error


def load_state(path: Path, model: nn.Module) -> bool:
    """Load the `state_dict` in a file; returns whether it is one of this network."""
    try:
        model.load_state_dict(torch.load(path, map_location=next(model.parameters()).device, weights_only=True))
    except Exception:  # torch.load raises all kinds of errors on damaged bytes
        return False
    return True


class Checkpoint:
    """The state of one training in one file.

    Args:
        path: the file, in an existing folder.
        every: seconds between saves within an epoch.
        made_from: identity of the training: network, allocation, method, recipe, data, seed. The state of another training is not restored.
        say: gets a line if the file cannot be used.
    """

    def __init__(self, path: Path, every: float = 60.0, *, made_from: str = "", say: Callable[[str], None] = lambda line: None) -> None:
        self.path = path
        self.every = every
        self._made_from = made_from
        self._say = say

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, curve: list[dict[str, float]], step: int, summed: float) -> None:
        """Save model, optimizer, curve, position and random state."""
        state = {
            "made_from": self._made_from,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "curve": curve,
            "step": step,
            "summed": summed,
            "random": torch.get_rng_state(),
        }
        save_state(self.path, state)

    def restore(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, curve: list[dict[str, float]], *, most: float = math.inf
    ) -> tuple[int, float]:
        """Restore in place; returns (steps done, sum of losses in the current epoch), zeros if there is no file of this training.

        A state after more than `most` steps is not restored.
        """
        if not self.path.exists():
            return 0, 0.0
        before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
        try:
            state = torch.load(self.path, map_location=next(model.parameters()).device, weights_only=True)
            if state["made_from"] != self._made_from:
                return self._discarded("is of another training")
            if state["step"] > most:
                return self._discarded("has gone further")
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            _check_shapes(optimizer)
            position = int(state["step"]), float(state["summed"])
            curve[:] = [{str(name): 0 + value for name, value in entry.items()} for entry in state["curve"]]
            torch.set_rng_state(state["random"].cpu())
        except Exception:  # torch.load raises all kinds of errors on damaged bytes
            model.load_state_dict(before[0])
            optimizer.load_state_dict(before[1])
            curve.clear()
            return self._discarded("was damaged")
        return position

    def _discarded(self, reason: str) -> tuple[int, float]:
        self._say(f"{self.path.name} {reason}; this training starts from its beginning")
        self.delete()
        return 0, 0.0

    def delete(self) -> None:
        """Delete the file once training is finished."""
        self.path.unlink(missing_ok=True)


def _check_shapes(optimizer: torch.optim.Optimizer) -> None:
    """PyTorch takes a state of any shape, and fails at the next step."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
                raise ValueError(f"'{name}' is not of its parameter's shape")
