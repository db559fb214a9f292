"""The formulas of the card: mean bits, activation memory, bit operations, tiers of effort.

Definitions follow Garg, Jain, Lou, Nahmias: Confounding Tradeoffs for Neural Network Quantization, arXiv 2102.06366, and the code
published with it. Sequences have one entry per layer or per feature map; averages are weighted by elements, never by layers.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence

__all__ = [
    "accumulator_bits",
    "asymmetry_bits",
    "bops",
    "bops_with_additions",
    "equal_size_bits",
    "mean_bits",
    "over_seeds",
    "packed_bytes",
    "peak_bits",
    "peak_live_bits",
    "tier",
]

_FLOAT_BITS = 32
_FEW_IMAGES = 1024


def mean_bits(elements: Sequence[int], bits: Sequence[float], *, without: Collection[int] = ()) -> float:
    """`Σ N_l b_l / Σ N_l`; NaN if no element is left.

    Args:
        elements: N `[L]`.
        bits: b `[L]`.
        without: positions to leave out, such as the first and the last layer.
    """
    kept = [(n, b) for index, (n, b) in enumerate(zip(elements, bits, strict=True)) if index not in without]
    total = sum(n for n, _ in kept)
    return sum(n * b for n, b in kept) / total if total else math.nan


def packed_bytes(elements: Sequence[int], bits: Sequence[int]) -> int:
    """`Σ ⌈N_l b_l / 8⌉`: packed weights without scales, each layer starting at a byte."""
    return sum(-(-n * b // 8) for n, b in zip(elements, bits, strict=True))


def peak_bits(elements: Sequence[int], bits: Sequence[int]) -> int:
    """`max_m E_m b_m`: the largest single feature map; 0 without maps."""
    return max((e * b for e, b in zip(elements, bits, strict=True)), default=0)


def peak_live_bits(sizes: Sequence[int], born: Sequence[int], last: Sequence[int]) -> int:
    """`max_t Σ sizes of the maps with born ≤ t ≤ last`: peak memory if each map is freed after its last reader.

    Args:
        sizes: E·b in bits `[M]`.
        born: operation that writes each map `[M]`.
        last: last operation that reads it `[M]`.
    """
    changes: dict[int, int] = {}
    for size, start, end in zip(sizes, born, last, strict=True):
        changes[start] = changes.get(start, 0) + size
        changes[end + 1] = changes.get(end + 1, 0) - size
    live = peak = 0
    for moment in sorted(changes):
        live += changes[moment]
        peak = max(peak, live)
    return peak


def equal_size_bits(elements: Sequence[int], target: float) -> list[int]:
    """`b_m = min(32, ⌊S/E_m⌋)`, `S = max_m(E_m · 8) · target/8`: every map fills the memory that the largest takes at `target` bits."""
    largest = max(elements) * target
    return [min(_FLOAT_BITS, math.floor(largest / e)) for e in elements]


def asymmetry_bits(low: float, high: float) -> float:
    """`log2(2 · max(|high|, |low|) / (high − low))`: bits that a symmetric range costs above the tensor's own range."""
    low, high = min(low, 0.0), max(high, 0.0)  # both kinds of range represent zero exactly
    return math.log2(2 * max(high, -low) / (high - low)) if high > low else 0.0


def bops(macs: Sequence[int], weight_bits: Sequence[int], act_bits: Sequence[int]) -> int:
    """`Σ MAC_l b_w b_a`."""
    return sum(m * w * a for m, w, a in zip(macs, weight_bits, act_bits, strict=True))


def bops_with_additions(macs: Sequence[int], weight_bits: Sequence[int], act_bits: Sequence[int], inputs: Sequence[int]) -> float:
    """`Σ MAC_l (b_w b_a + b_w + b_a + log2 n_l)`, n inputs per output: with the additions of the accumulator, as UNIQ counts."""
    return sum(m * (w * a + w + a + math.log2(n)) for m, w, a, n in zip(macs, weight_bits, act_bits, inputs, strict=True))


def accumulator_bits(weight_bits: int, act_bits: int, inputs: int) -> int:
    """`b_w + b_a + ⌈log2 n⌉`: enough for any sum of n products."""
    return weight_bits + act_bits + math.ceil(math.log2(max(inputs, 1)))


def over_seeds(values: Mapping[int, float]) -> tuple[float, float | str]:
    """Mean and standard deviation (n − 1) of a metric by seed; one seed has no deviation.

    Raises:
        ValueError: there is no seed.
    """
    if not values:
        raise ValueError("a result needs at least one seed")
    numbers = list(values.values())
    return statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else "n/a: one seed"


def tier(*, images: int, backward: int, labels: int, epoch: int) -> str:
    """Tier of effort, by what was computed rather than by the name of the method.

    | tier | labels in a loss | backward passes | images |
    |---|---|---|---|
    | P0 | none | none | none |
    | P1 | none | none | at most 1024 |
    | P2 | none | any | any |
    | P3 | some | at most one epoch | any |
    | P4 | some | more | any |

    Args:
        images: distinct images used by calibration, search and training.
        backward: samples that were differentiated, without passes of the teacher.
        labels: labels that entered a loss.
        epoch: size of the training split.
    """
    if labels:
        return "P3" if backward <= epoch else "P4"
    if backward or images > _FEW_IMAGES:
        return "P2"
    return "P1" if images else "P0"
