"""`Unquantized`: what of a network no bits can reduce, by reason, for reports and for errors about budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mpsearch.core.layer import Layer

__all__ = ["Unquantized", "bytes_of", "covered_share", "largest_named"]


@dataclass(frozen=True, kw_only=True)
class Unquantized:
    """Tensors that stay float for the same reason.

    Args:
        reason: such as `bias`, `normalisation`, `enters no product`.
        tensors: how many, at least one.
        bytes: what they take in the file.
        parameters: number of values in those that are parameters; buffers do not count.
        largest: up to three names, the largest tensor first.
        largest_bytes: of each of these.
    """

    reason: str
    tensors: int
    bytes: int
    parameters: int
    largest: tuple[str, ...]
    largest_bytes: tuple[int, ...]

    @property
    def line(self) -> str:
        """In words: `1,024 B: bias (12 tensors, largest head.bias 400 B)`."""
        many = f"{self.tensors} tensors, largest " if self.tensors > 1 else ""
        return f"{self.bytes:,} B: {self.reason} ({many}{self.largest[0]}{f' {self.largest_bytes[0]:,} B' if many else ''})"


def bytes_of(groups: Sequence[Unquantized]) -> int:
    """Bytes of all groups together."""
    return sum(group.bytes for group in groups)


def largest_named(groups: Sequence[Unquantized], count: int = 3) -> str:
    """The largest tensors of all groups, in words: `emb 4,000 B, norm.weight 128 B`."""
    named = [pair for group in groups for pair in zip(group.largest_bytes, group.largest, strict=True)]
    return ", ".join(f"{name} {size:,} B" for size, name in sorted(named, key=lambda pair: -pair[0])[:count])


def covered_share(layers: Sequence[Layer], groups: Sequence[Unquantized]) -> float:
    """Share of the network's parameters that have bits, between 0 and 1."""
    weights = sum(layer.weights for layer in layers)
    return weights / (weights + sum(group.parameters for group in groups))
