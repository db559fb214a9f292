"""`walk`: operations, bits moved and tensor lifetimes of one forward pass of a quantized network, for the quantization card.

A tensor that a layer reads at 4 bits counts as 4 bits, or as 32 if something else reads it in float; see `mpsearch.network.lifetimes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.network.lifetimes import FLOAT_READER, observe
from mpsearch.network.quantizers import act_quantizer_of

__all__ = ["FeatureMap", "Operation", "Walk", "walk"]


@dataclass(frozen=True)
class Operation:
    """One operation of the pass.

    Args:
        name: such as `convolution`, `add`, `_softmax`.
        layer: the layer whose weight it multiplies, or "".
        macs: multiply-accumulates of one sample.
        bits_moved: bits of activations read and written, one sample.
    """

    name: str
    layer: str
    macs: int
    bits_moved: int


@dataclass(frozen=True)
class FeatureMap:
    """One tensor between operations.

    Args:
        elements: E, one sample.
        bits: largest number of bits of any reader; 32 if no reader quantizes it.
        born: number of the operation that made it; −1 is the network's input.
        last: number of the last operation that reads it.
    """

    elements: int
    bits: int
    born: int
    last: int


@dataclass(frozen=True)
class Walk:
    """The operations and tensors of one pass."""

    operations: tuple[Operation, ...]
    maps: tuple[FeatureMap, ...]


def walk(model: nn.Module, layers: Sequence[Layer], inputs: Any) -> Walk:
    """Run the network once on a batch and record its operations and tensors.

    Args:
        model: as installed from baked numbers, in evaluation mode.
        layers: as traced.
        inputs: one batch, on the model's device.
    """
    found = observe(model, layers, inputs)
    bits = {FLOAT_READER: FLOAT_BITS}
    for layer in layers:
        if (quantizer := act_quantizer_of(model, layer)) is not None:
            bits[layer.name] = quantizer.bits
    elements = [seen.elements for seen in found.activations]
    operations = [
        Operation(
            name=step.name,
            layer=step.layer,
            macs=step.macs,
            bits_moved=sum(elements[place] * bits[reader] for place, reader in step.read)
            + sum(elements[place] * FLOAT_BITS for place in step.written),
        )
        for step in found.steps
    ]
    maps = [
        FeatureMap(elements=seen.elements, bits=max((bits[r] for r in seen.readers), default=FLOAT_BITS), born=seen.born, last=seen.last)
        for seen in found.activations
    ]
    return Walk(tuple(operations), tuple(maps))
