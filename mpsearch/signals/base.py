"""`SignalInputs`: the inputs of every signal; `Signal`: an entry of the registry."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ModelError
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.network.calibrate import Calibration
from mpsearch.network.execution import Execution
from mpsearch.network.inputs import batch_size, call
from mpsearch.network.modes import evaluating
from mpsearch.network.network import keep_slow_attention
from mpsearch.network.recurrent import follow_weights
from mpsearch.network.state import sharing_copy
from mpsearch.tasks.outputs import all_finite
from mpsearch.tasks.task import Task

__all__ = ["Partial", "Signal", "SignalInputs", "by_choice", "finite_outputs", "private_copy"]

T = TypeVar("T")


class Partial:
    """What a long signal has computed so far, in JSON data; this one keeps nothing."""

    def held(self, load: Callable[[Any], T]) -> T | None:
        """What an interrupted computation of the same signal kept last; None if there is nothing.

        Args:
            load: JSON data → state; its errors mean damage.
        """
        return None

    def keep(self, document: Callable[[], Any]) -> None:
        """Keep the JSON data, now or not: `document` is called when they are stored. They must continue to the same values."""


@dataclass(frozen=True, kw_only=True)
class SignalInputs:
    """The inputs of a signal.

    Args:
        model: float network; signals work on a copy.
        space: its layers and menus.
        calibration: fixed ranges of every layer and bit width.
        batches: (inputs, targets) of training data, already on the model's device.
        task: loss, divergence and the model's own predictive distribution.
        seed: seed of random draws.
        progress: called with (steps done, steps in total), or None.
        target_bits: mean weight bits that the budgets allow, the target of signals that train; None: the middle of the menus.
        tables: tables of other signals, for signals that combine them.
        measured: (allocation, loss or divergence in nats) pairs, likewise.
        execution: how the network runs while it is trained.
        partial: keeps what an interrupted computation had done.
    """

    model: nn.Module
    space: ResolvedSpace
    calibration: Calibration
    batches: Sequence[tuple[Any, Any]]
    task: Task
    seed: int = 0
    progress: Callable[[int, int], None] | None = None
    target_bits: float | None = None
    tables: Sequence[Table] = ()
    measured: Sequence[tuple[Allocation, float]] = ()
    execution: Execution = field(default_factory=Execution)
    partial: Partial = field(default_factory=lambda: Partial())

    @property
    def images(self) -> int:
        """Samples in all batches."""
        return sum(batch_size(batch) for batch, _ in self.batches)

    def report(self, done: int, total: int) -> None:
        """Call `progress`, if given."""
        if self.progress is not None:
            self.progress(done, total)


@dataclass(frozen=True, kw_only=True)
class Signal:
    """One entry of the registry.

    Args:
        name: as in `mpsearch signals --signal`.
        paper: authors, title, venue or arXiv number.
        description: one line for `mpsearch list`.
        function: computes the table, unit nats; its `cost` counts forwards and backwards in passes over the images.
        passes: (space, batches) → (forwards, backwards), the passes over the images that it takes.
        combines: whether it is computed from other signals' tables and measured allocations.
        trains: whether it trains a copy of the network.
    """

    name: str
    paper: str
    description: str
    function: Callable[[SignalInputs], Table]
    passes: Callable[[ResolvedSpace, int], tuple[float, float]]
    combines: bool = False
    trains: bool = False


@contextmanager
def private_copy(model: nn.Module, *, shared: bool = False) -> Iterator[nn.Module]:
    """A frozen copy of the model in evaluation mode, for hooks and changes; the global random state is restored at the end.

    The fused path of attention is disabled, as in every network that is trained or scored.

    Args:
        model: not changed.
        shared: the copy's weights lie in the memory of the model's, for signals that write to none.
    """
    parameter = next(model.parameters(), None)
    devices = [parameter.device] if parameter is not None and parameter.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        copied = evaluating(sharing_copy(model) if shared else copy.deepcopy(model)).requires_grad_(False)
        keep_slow_attention(copied)
        follow_weights(copied)
        yield copied


def finite_outputs(model: nn.Module, batch: Any, whose: str = "the float network's") -> Any:
    """The model's outputs on a batch.

    Raises:
        ModelError: they are not finite.
    """
    outputs = call(model, batch)
    if not all_finite(outputs):
        raise ModelError(f"{whose} outputs are not finite on the training data; check its weights and the inputs' scale")
    return outputs


def by_choice(space: ResolvedSpace, value: Callable[[int, Choice], float]) -> NDArray[np.float64]:
    """`[L, C]`: `value(row, choice)` for each choice on the menu of a row's layer, NaN elsewhere."""
    rows = [[value(row, choice) if choice in menu else np.nan for choice in space.choices] for row, menu in enumerate(space.menus)]
    return np.array(rows, dtype=np.float64)
