"""`Checkpoint`: one file to resume a training from, written atomically and loaded without executing code."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from mpsearch.core.files import replacing

__all__ = ["Checkpoint"]


class Checkpoint:
    """The state of one training in one file.

    Args:
        path: the file, in an existing folder.
        every: seconds between saves within an epoch.
    """

    def __init__(self, path: Path, every: float = 60.0) -> None:
        self.path = path
        self.every = every

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, curve: list[dict[str, float]], step: int, summed: float) -> None:
        """Save model, optimizer, curve, position and random state."""
        state = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "curve": curve,
            "step": step,
            "summed": summed,
            "random": torch.get_rng_state(),
        }
        with replacing(self.path) as temporary:
            torch.save(state, temporary)

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer, curve: list[dict[str, float]]) -> tuple[int, float]:
        """Restore in place; returns (steps done, sum of losses in the current epoch), zeros if there is no file."""
        if not self.path.exists():
            return 0, 0.0
        state = torch.load(self.path, map_location=next(model.parameters()).device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        curve[:] = state["curve"]
        torch.set_rng_state(state["random"].cpu())
        return int(state["step"]), float(state["summed"])

    def delete(self) -> None:
        """Delete the file once training is finished."""
        self.path.unlink(missing_ok=True)
