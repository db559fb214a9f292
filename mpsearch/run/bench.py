"""Files of a target for latency: a whole network, or one layer alone, calibrated, written by the target's own writer, and loaded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.arrays import Floats
from mpsearch.core.choice import Choice
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT
from mpsearch.core.space import ResolvedSpace
from mpsearch.costs.latency_profile import Timing
from mpsearch.methods.base import Method
from mpsearch.network.baked import Parts, bake
from mpsearch.network.calibrate import Calibration
from mpsearch.network.cut import Cut
from mpsearch.network.inputs import batch_size, samples_of
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.run.timing import in_turns, timing_of
from mpsearch.targets import Blueprint, Target

__all__ = ["Bench", "layer_times"]

_FLOATS = Choice(FLOAT)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """How times are taken: one thread by its CPU time, which is its wall-clock time on an idle machine, several by the wall clock.

    Args:
        target: whose files are timed.
        threads: of its runtime.
        batch: samples of a call.
        repeats: of each measurement.
    """

    target: Target
    threads: int
    batch: int
    repeats: int

    def loaded(
        self, model: nn.Module, inputs: Any, layers: Sequence[Layer], choices: Sequence[Choice], method: Method
    ) -> Callable[[], object]:
        """A network in choices of a method, in the target's runtime: each call computes a batch.

        Args:
            model: float network.
            inputs: of it, at least `batch` samples, on which the ranges of activations are calibrated.
            layers: of the model.
            choices: one for each layer.
            method: stores and calibrates the weights.
        """
        space = ResolvedSpace(
            layers=tuple(layers), menus=tuple((choice,) for choice in choices), groups=tuple((row,) for row in range(len(layers)))
        )
        parts = _numbers(model, inputs, space, method)
        few = samples_of(inputs, slice(0, self.batch), batch_size(inputs))
        with TemporaryDirectory() as folder:
            path = Path(folder) / self.target.file
            self.target.writer(Blueprint.of(model, inputs, space, stores=[method.stores])).write(path, parts)
            return self.target.prepared(path, few, self.threads)

    def in_float(self, model: nn.Module, inputs: Any, layers: Sequence[Layer], method: Method) -> Callable[[], object]:
        """The network in float32, which sets the pace."""
        return self.loaded(model, inputs, layers, [_FLOATS] * len(layers), method)

    def nothing(self, method: Method) -> Callable[[], object]:
        """A network of one weight: a call of the runtime with next to no work."""
        model, inputs = nn.Sequential(nn.Linear(1, 1, bias=False)).eval().requires_grad_(False), torch.ones(max(self.batch, 2), 1)
        return self.in_float(model, inputs, trace(model, inputs), method)

    def in_turns(self, calls: Mapping[Any, Callable[[], object]], pace: Callable[[], object]) -> tuple[dict[Any, Floats], Floats]:
        """Shares of the time of the float network, `[repeats]` for each call, and its own seconds a sample, `[repeats]`.

        In each round every call has its turn, and the float network two, at the beginning and in the middle, of which the mean counts.
        """
        names = list(calls)
        half = len(names) // 2
        turns: dict[Any, Callable[[], object]] = {("pace", 0): pace}
        turns |= {("call", name): calls[name] for name in names[:half]}
        turns |= {("pace", 1): pace}
        turns |= {("call", name): calls[name] for name in names[half:]}
        times = in_turns(turns, self.repeats, time.thread_time if self.threads == 1 else time.perf_counter)
        own = (times["pace", 0] + times["pace", 1]) / 2
        return {name: times["call", name] / own for name in names}, own / self.batch


@torch.no_grad()
def _numbers(model: nn.Module, inputs: Any, space: ResolvedSpace, method: Method) -> Parts:
    network = Network(model, space, Calibration.fit(model, space, [inputs], method.grid), method)
    network.begin(Allocation({name: only for name, (only,) in zip(space.names, space.menus, strict=True)}))
    return bake(network)


def _loaded(cut: Cut, bench: Bench, choice: Choice, method: Method) -> Callable[[], object]:
    """A cut with its layer in a choice and further layers in float; a reader rounds its input as the layer does."""
    choices = [_FLOATS] * len(cut.layers)
    choices[cut.row] = choice
    if cut.reader is not None:
        choices[cut.reader] = Choice(FLOAT, choice.activation)
    return bench.loaded(cut.model, cut.inputs, cut.layers, choices, method)


def layer_times(
    cuts: Sequence[Cut], stored: Mapping[Choice, tuple[Choice, Method]], bench: Bench, pace: Callable[[], object]
) -> tuple[dict[Choice, Timing | str], float]:
    """The times of one layer in all of its stored choices, in turns, as shares of the pace; a sentence in place of a time that is none.

    Where a cut holds further layers, these are float, and `(1 − share) · time of the cut all in float` is taken off.

    Args:
        cuts: of the layer.
        stored: stored choice → (choice on the menu, method that stores it so).
        bench: how.
        pace: a call of the float network.

    Returns:
        Stored choice → shares; median of the pace in seconds a sample.
    """
    calls: dict[Any, Callable[[], object]] = {}
    method = next(iter(stored.values()))[1]
    for number, cut in enumerate(cuts):
        for choice, (asked, storing) in stored.items():
            calls[number, choice] = _loaded(cut, bench, asked, storing)
        if cut.share < 1:
            calls[number, None] = _loaded(cut, bench, _FLOATS, method)
    times, own = bench.in_turns(calls, pace)
    found: dict[Choice, Timing | str] = {}
    for choice in stored:
        total = np.zeros(bench.repeats)
        for number, cut in enumerate(cuts):
            others = (1 - cut.share) * np.median(times[number, None]) if cut.share < 1 else 0.0
            total += cut.calls * (times[number, choice] - others)
        timing = timing_of(total)
        found[choice] = timing if timing.low > 0 else "its module takes no more time than its other layers in float would"
    return found, float(np.median(own))
