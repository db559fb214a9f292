"""`StatisticsChoice`: how the BatchNorm statistics of untrained allocations follow quantization, and what each way is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CORRECTED", "KEPT", "REESTIMATED", "WAYS", "StatisticsChoice"]

KEPT = "kept"
"""The float network's own statistics."""
REESTIMATED = "re-estimated"
"""Those of the quantized network on training samples, augmented as in training."""
CORRECTED = "corrected"
"""The float network's own, moved by the difference that quantization makes on the same samples."""
WAYS = (KEPT, REESTIMATED, CORRECTED)


@dataclass(frozen=True, kw_only=True)
class StatisticsChoice:
    """The way of a study, chosen by divergence from the float network on held-out training samples.

    Args:
        chosen: one of `WAYS`.
        samples: number of held-out samples.
        allocations: the reference allocations, such as `uniform w4af`.
        divergences: way → mean divergence in nats, one for each reference allocation.
    """

    chosen: str
    samples: int
    allocations: tuple[str, ...]
    divergences: Mapping[str, tuple[float, ...]]

    @property
    def sentence(self) -> str:
        """The choice and the figures, in one line."""
        told = [f"{way} {' / '.join(f'{value:.3g}' for value in values)}" for way, values in self.divergences.items()]
        return (
            f"BatchNorm statistics of untrained allocations are {self.chosen}; nats from the float network on {self.samples} held-out "
            f"training samples at {' / '.join(self.allocations)}: {', '.join(told)}."
        )
