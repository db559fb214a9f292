"""`PriceController`: adjusts a method's price of bits so that the mean learned bits follow a line down to a target.

After each step the mean of the learned bits is compared with a straight line from the initial bits to the target, and

    price ← price · exp(gain · (mean bits − line))                      within 10^±6 of its initial value

so that a price that is too low to have an effect, or so high that it empties every layer, is corrected within a few steps. From `arrive` on
the mean stays at the target while layers exchange bits at one price; the result is the mean of the bits over those steps, since the bits of
a single step depend on a single batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from mpsearch.methods.base import Batch, Method
from mpsearch.network.network import Network
from mpsearch.signals.learned.short_run import mean_bits
from mpsearch.training.loop import Hooks

__all__ = ["PriceController"]

M = TypeVar("M", bound=Method)

_BOUND = math.log(1e6)


class PriceController(Generic[M]):
    """A method whose price of bits is controlled by its learned bits.

    Args:
        network: network of the method, at its initial allocation.
        method: method with its initial price, above 0.
        price: name of the method's setting.
        bits: network → learned bits by layer name, fractional if possible; 32 for float weights.
        target: mean bits at the end.
        gain: change of the price's logarithm per step and bit of deviation from the line.
        arrive: share of the training at which the line reaches the target.
        rescale: replaces the method's `before_step` and changes gradients; called with the network and the method at its present price.
    """

    def __init__(
        self,
        network: Network,
        method: M,
        *,
        price: str,
        bits: Callable[[Network], Mapping[str, float]],
        target: float,
        gain: float,
        arrive: float = 0.5,
        rescale: Callable[[Network, M], None] | None = None,
    ) -> None:
        self.method = method
        self._network, self._price, self._bits, self._rescale = network, price, bits, rescale
        self._target, self._gain, self._arrive = target, gain, arrive
        self._first = self._now = float(getattr(method, price))
        at_start = dict(bits(network))
        self._start = mean_bits(network.space.layers, at_start)
        self._sums, self._count = at_start, 0

    @property
    def bits(self) -> dict[str, float]:
        """Learned bits by layer name, averaged over the steps since arrival."""
        return {name: value / max(self._count, 1) for name, value in self._sums.items()}

    def hooks(self) -> Hooks:
        """The method's hooks, at the present price."""
        return Hooks(
            objective=self._objective,
            before_step=self._before_step,
            after_step=self._after_step,
            after_epoch=lambda progress: self.method.after_epoch(self._network, progress),
        )

    def _objective(self, batch: Batch) -> Tensor:
        return self.method.objective(self._network, batch)

    def _before_step(self, progress: float) -> None:
        if self._rescale is None:
            self.method.before_step(self._network, progress)
        else:
            self._rescale(self._network, self.method)

    @torch.no_grad()
    def _after_step(self, progress: float) -> None:
        self.method.after_step(self._network, progress)
        found = self._bits(self._network)
        line = self._target + (self._start - self._target) * max(0.0, 1 - progress / self._arrive)
        off = mean_bits(self._network.space.layers, found) - line
        moved = math.log(self._now / self._first) + self._gain * off
        self._now = self._first * math.exp(max(-_BOUND, min(_BOUND, moved)))
        changed: dict[str, Any] = {self._price: self._now}
        self.method = replace(self.method, **changed)
        if progress >= self._arrive:
            before = self._sums if self._count else dict.fromkeys(found, 0.0)
            self._sums = {name: before[name] + value for name, value in found.items()}
            self._count += 1
