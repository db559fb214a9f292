"""Numbers of the winner's layers: bits, bytes in the file and their share."""

from __future__ import annotations

from dataclasses import dataclass

from mpsearch.core.choice import Choice
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.core.summary import Summary
from mpsearch.targets.packed.layout import layer_bytes, weight_bytes

__all__ = ["BitsInfo", "LayerBits", "bits_info"]


@dataclass(frozen=True, kw_only=True)
class LayerBits:
    """One layer of the winner.

    Args:
        layer: its weight, without the tensor.
        choice: formats of its weight and its input.
        bytes: what the layer takes in the file: packed codes, scales, biases, activation step.
        share: of the bytes of all layers, in [0, 1].
        uniform_weight: what the best uniform allocation gives it; `None` without one.
    """

    layer: Layer
    choice: Choice
    bytes: int
    share: float
    uniform_weight: NumberFormat | None


@dataclass(frozen=True, kw_only=True)
class BitsInfo:
    """The winner, layer by layer.

    Args:
        layers: in forward order.
        mean_weight_bits: `Σ N_l b_l / Σ N_l`, first and last layer included.
        mean_act_bits: the same over input elements; `None` if no activation is quantized.
        layer_bytes: sum over the layers.
        weight_bytes: packed codes and float weights alone.
        overhead_bytes: header and unquantized tensors in the file.
        finding: one sentence that says what is seen.
    """

    layers: tuple[LayerBits, ...]
    mean_weight_bits: float
    mean_act_bits: float | None
    layer_bytes: int
    weight_bytes: int
    overhead_bytes: int
    finding: str


def bits_info(summary: Summary) -> BitsInfo:
    """Numbers of the winner's layers."""
    allocation, uniform = summary.winner.allocation, summary.uniform
    formats = list(zip(summary.layers, summary.formats, strict=True))
    packed = tuple(layer_bytes(layer, format, allocation[layer.name].activation) for layer, format in formats)
    sizes = dict(zip((layer.name for layer in summary.layers), summary.layer_bytes or packed, strict=True))
    total = sum(sizes.values())
    rows = tuple(
        LayerBits(
            layer=layer,
            choice=allocation[layer.name],
            bytes=sizes[layer.name],
            share=sizes[layer.name] / total,
            uniform_weight=None if uniform is None else uniform.allocation[layer.name].weight,
        )
        for layer in summary.layers
    )
    activations = any(not row.choice.activation.is_float for row in rows)
    mean = allocation.mean_weight_bits(summary.layers)
    largest = max(rows, key=lambda row: row.bytes)
    share = f"{100 * largest.share:.0f} % of the layers' bytes"
    return BitsInfo(
        layers=rows,
        mean_weight_bits=mean,
        mean_act_bits=allocation.mean_act_bits(summary.layers) if activations else None,
        layer_bytes=total,
        weight_bytes=sum(weight_bytes(layer, format) for layer, format in formats),
        overhead_bytes=summary.artifact_bytes - total,
        finding=f"{mean:.2f} bits per weight on average; {largest.layer.name} alone takes {share}.",
    )
