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

from mpsearch.methods.base import Method
from mpsearch.network.network import Network
from mpsearch.signals.learned.short_run import mean_bits
from mpsearch.training.loop import Hooks

__all__ = ["PriceController"]

M = TypeVar("M", bound=Method)

_BOUND = math.log(1e6)


class PriceController(Generic[M]):
    """A method whose price of bits is controlled by its learned bits.

    Args:
        method: method with its initial price, above 0.
        price: name of the method's setting.
        bits: network → learned bits by layer name, fractional if possible; 32 for float weights.
        target: mean bits at the end.
        gain: change of the price's logarithm per step and bit of deviation from the line.
        arrive: share of the training at which the line reaches the target.
    """

    def __init__(
        self,
        method: M,
        *,
        price: str,
        bits: Callable[[Network], Mapping[str, float]],
        target: float,
        gain: float,
        arrive: float = 0.5,
    ) -> None:
        self.method = method
        self._price, self._bits = price, bits
        self._target, self._gain, self._arrive = target, gain, arrive
        self._first = self._now = float(getattr(method, price))
        self._at_start: Mapping[str, float] = {}
        self._arrived: list[Mapping[str, float]] = []

    @property
    def bits(self) -> dict[str, float]:
        """Learned bits by layer name, averaged over the steps since arrival."""
        steps = self._arrived or [self._at_start]
        return {name: sum(step[name] for step in steps) / len(steps) for name in self._at_start}

    def hooks(self, network: Network, rescale: Callable[[Network, M], None] | None = None) -> Hooks:
        """The method's hooks, at the present price.

        Args:
            network: network of the method, at its initial allocation.
            rescale: replaces the method's `before_step` and changes gradients; called with the network and the method at its present price.
        """
        self._at_start = self._bits(network)
        return Hooks(
            objective=lambda batch: self.method.objective(network, batch),
            before_step=lambda progress: rescale(network, self.method) if rescale else self.method.before_step(network, progress),
            after_step=lambda progress: self._after_step(network, progress),
            after_epoch=lambda progress: self.method.after_epoch(network, progress),
        )

    def _after_step(self, network: Network, progress: float) -> None:
        self.method.after_step(network, progress)
        found, layers = self._bits(network), network.space.layers
        line = self._target + (mean_bits(layers, self._at_start) - self._target) * max(0.0, 1 - progress / self._arrive)
        off = mean_bits(layers, found) - line
        moved = math.log(self._now / self._first) + self._gain * off
        self._now = self._first * math.exp(max(-_BOUND, min(_BOUND, moved)))
        changed: dict[str, Any] = {self._price: self._now}
        self.method = replace(self.method, **changed)
        if progress >= self._arrive:
            self._arrived.append(found)
