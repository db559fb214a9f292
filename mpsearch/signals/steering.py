"""A price of bits that steers itself: a method whose penalty has a narrow useful window is led along a line of mean bits.

After each step the mean of the learned bits is compared with a straight line from the bits at the start down to the aim, and

    price ← price · exp(gain · (mean bits − line))                      within 10^±6 of where it began

so that a price too low to move anything, or so high that it empties every layer, corrects itself within a few steps. The last part of the
training stays at the aim, where layers trade bits at one price.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Generic, TypeVar

from torch import Tensor

from mpsearch.methods.base import Batch, Method
from mpsearch.network.network import Network
from mpsearch.signals.short_run import mean_bits
from mpsearch.training.loop import Hooks

__all__ = ["Steered"]

M = TypeVar("M", bound=Method)

_BOUND = math.log(1e6)


class Steered(Generic[M]):
    """A method under a price that follows its bits.

    Args:
        network: attached and begun.
        method: at its first price, above 0.
        price: name of the setting.
        bits: network → learned bits by layer name, as fine as they can be told.
        target: mean bits to end at.
        gain: of the price's logarithm, for each bit off the line and step.
        arrive: share of the training at which the line reaches the target.
    """

    def __init__(
        self,
        network: Network,
        method: M,
        price: str,
        bits: Callable[[Network], Mapping[str, float]],
        target: float,
        *,
        gain: float,
        arrive: float,
    ) -> None:
        self.method = method
        self._network, self._price, self._bits, self._target, self._gain, self._arrive = network, price, bits, target, gain, arrive
        self._first = float(getattr(method, price))
        self._start = mean_bits(network.space.layers, bits(network))

    def hooks(self) -> Hooks:
        """The method's, at the present price."""
        return Hooks(
            objective=self._objective,
            before_step=lambda progress: self.method.before_step(self._network, progress),
            after_step=self._after_step,
            after_epoch=lambda progress: self.method.after_epoch(self._network, progress),
        )

    def _objective(self, batch: Batch) -> Tensor:
        return self.method.objective(self._network, batch)

    def _after_step(self, progress: float) -> None:
        self.method.after_step(self._network, progress)
        left = max(0.0, 1 - progress / self._arrive)
        line = self._target + (self._start - self._target) * left
        off = mean_bits(self._network.space.layers, self._bits(self._network)) - line
        moved = math.log(getattr(self.method, self._price) / self._first) + self._gain * off
        self.method = replace(self.method, **{self._price: self._first * math.exp(max(-_BOUND, min(_BOUND, moved)))})
