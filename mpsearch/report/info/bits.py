"""Numbers of the winner's layers: bits, bytes in the file and their share."""

from __future__ import annotations

from dataclasses import dataclass

from mpsearch.core.choice import FLOAT_BITS
from mpsearch.core.summary import Summary
from mpsearch.numbers.formats import FORMATS
from mpsearch.targets.packed.layout import layer_bytes, weight_bytes

__all__ = ["BitsInfo", "LayerBits", "bits_info"]


@dataclass(frozen=True, kw_only=True)
class LayerBits:
    """One layer of the winner.

    Args:
        name: of the layer.
        kind: class name of its module.
        shape: of its weight.
        weights: number of weights.
        weight_bits: 1 to 8, or 32 (float).
        act_bits: of its input.
        bytes: in the file: packed codes, scales, biases, activation step.
        share: of the bytes of all layers, in [0, 1].
        uniform_weight_bits: what the best uniform allocation gives it; `None` without one.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    weights: int
    weight_bits: int
    act_bits: int
    bytes: int
    share: float
    uniform_weight_bits: int | None


@dataclass(frozen=True, kw_only=True)
class BitsInfo:
    """The winner, layer by layer.

    Args:
        layers: in forward order.
        mean_weight_bits: `Σ N_l b_l / Σ N_l`, first and last layer included.
        mean_act_bits: the same over input elements; `None` if no activation is quantized.
        layer_bytes: sum over the layers.
        weight_bytes: packed codes and float weights alone.
        overhead_bytes: header and unquantized tensors in the file; `None` without a file.
        finding: one sentence that says what is seen.
        empty: why there is nothing to draw, or "".
    """

    layers: tuple[LayerBits, ...]
    mean_weight_bits: float | None
    mean_act_bits: float | None
    layer_bytes: int
    weight_bytes: int
    overhead_bytes: int | None
    finding: str
    empty: str


def bits_info(summary: Summary) -> BitsInfo:
    """Numbers of the winner's layers."""
    allocation = summary.winning_allocation
    if allocation is None:
        return BitsInfo(
            layers=(),
            mean_weight_bits=None,
            mean_act_bits=None,
            layer_bytes=0,
            weight_bytes=0,
            overhead_bytes=None,
            finding="",
            empty="No winner was chosen in this run.",
        )
    letters = summary.formats or "-" * len(summary.layers)
    formats = [(layer, FORMATS.get(letter)) for layer, letter in zip(summary.layers, letters, strict=True)]
    sizes = {layer.name: layer_bytes(layer, allocation[layer.name], format) for layer, format in formats}
    total = sum(sizes.values())
    uniform = None if summary.uniform is None else summary.uniform.allocation
    rows = tuple(
        LayerBits(
            name=layer.name,
            kind=layer.kind,
            shape=layer.weight_shape,
            weights=layer.weights,
            weight_bits=allocation[layer.name].weight_bits,
            act_bits=allocation[layer.name].act_bits,
            bytes=sizes[layer.name],
            share=sizes[layer.name] / total,
            uniform_weight_bits=None if uniform is None else uniform[layer.name].weight_bits,
        )
        for layer in summary.layers
    )
    activations = any(row.act_bits != FLOAT_BITS for row in rows)
    mean = allocation.mean_weight_bits(summary.layers)
    largest = max(rows, key=lambda row: row.bytes)
    return BitsInfo(
        layers=rows,
        mean_weight_bits=mean,
        mean_act_bits=allocation.mean_act_bits(summary.layers) if activations else None,
        layer_bytes=total,
        weight_bytes=sum(weight_bytes(layer, allocation[layer.name], format) for layer, format in formats),
        overhead_bytes=summary.artifact_bytes - total if summary.artifact_bytes else None,
        finding=f"{mean:.2f} bits per weight on average; {largest.name} alone takes {100 * largest.share:.0f} % of the layers' bytes.",
        empty="",
    )
