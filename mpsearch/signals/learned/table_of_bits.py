"""From learned bits to a table: what a layer's bits must be worth for a training that pays for every bit to have stopped where it did.

With damage that falls by a factor 4 a bit, `D_l(b) = c_l · 4^−b` (squared rounding error, as for any grid of many levels), and one price
π a weight and bit, the sum `Σ_l c_l 4^−b_l + π Σ_l N_l b_l` is least where the last bit of each layer repays what it costs,

    ln 4 · c_l · 4^−b*_l = π N_l    ⇒    value[l, k] = c_l 4^−w_k = (π / ln 4) · N_l · 4^(b*_l − w_k)        w_k: weight bits of choice k

N_l weights, b*_l bits learned. The price is the training's own and has no meaning beside other signals', so the unit is measured: the table
of weights is scaled to the divergence (nats) of the network with all weights at the widest uniform bits not above the mean of b*, on the
signal's images, from the float outputs. Another price would shift all b*_l alike: the table orders allocations the same at every budget,
and an allocation of least value is one of least `Σ N_l`-weighted distance to b* but for whole bits and the ends of the menus.

None of these methods learns activation bits here. Where a menu has them, their part is `fisher`'s for inputs rounded and weights at float,
added to that of the weights; one more pass forward and back.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT, FLOAT_BITS, NumberFormat
from mpsearch.core.table import Table
from mpsearch.network.inputs import batch_size, call
from mpsearch.signals.base import SignalInputs, private_copy
from mpsearch.signals.direct.fisher import fisher
from mpsearch.signals.learned.short_run import ShortRun, mean_bits

__all__ = ["table_of_bits", "table_of_weights"]

Floats = NDArray[np.float64]


def table_of_bits(name: str, inputs: SignalInputs, run: ShortRun, bits: Mapping[str, float], began: float) -> Table:
    """The table above, `[L, C]` nats, which keeps b* in `bits`.

    Args:
        name: of the signal.
        inputs: what it was given.
        run: the training.
        bits: b*_l by layer name, fractional where the method can tell; 32 for layers that have no bits to learn.
        began: `time.perf_counter()` when the signal began.
    """
    space = inputs.space
    sizes = np.array([layer.weights for layer in space.layers], dtype=np.float64)
    learned = np.array([bits[layer] for layer in space.names])
    widths = np.array([choice.weight.bits_per_value for choice in space.choices], dtype=np.float64)
    quantized = (learned < FLOAT_BITS)[:, None] & (widths < FLOAT_BITS)
    shape = np.where(quantized, sizes[:, None] * np.exp2(2 * (learned[:, None] - widths)), 0.0)
    known = {layer: value for layer, value in bits.items() if value < FLOAT_BITS}
    return table_of_weights(name, inputs, run, shape, reference=mean_bits(space.layers, known), began=began, bits=known)


def table_of_weights(
    name: str,
    inputs: SignalInputs,
    run: ShortRun,
    shape: Floats,
    *,
    reference: float,
    began: float,
    bits: Mapping[str, float] | None = None,
) -> Table:
    """`shape`, `[L, C]` in any unit, zero for float weights, scaled to nats; with the activations' part.

    Args:
        name: of the signal.
        inputs: what it was given.
        run: the training.
        shape: damage of the weights.
        reference: bits of the uniform network that is measured; the widest on the menus not above it is taken, or the narrowest of all.
        began: `time.perf_counter()` when the signal began.
        bits: learned bits by layer name, if there are any.
    """
    space = inputs.space
    weights = sorted({choice.weight for choice in space.choices})
    below = [weight for weight in weights if weight.bits_per_value <= reference]
    uniform = space.uniform(Choice(below[-1] if below else weights[0]))
    total = sum(shape[row, space.choices.index(uniform[layer])] for row, layer in enumerate(space.names))
    measured = _divergence(inputs, {layer: choice.weight for layer, choice in uniform.items()})
    values = shape * (measured / total if total > 0 else 0.0)
    passes = 1.0
    if space.quantizes_activations:
        values = values + _activations(inputs)
        passes += 1.0
    cost = {
        "seconds": time.perf_counter() - began,
        "forwards": run.forwards + 1.0 + passes,  # the float outputs once more, for the unit
        "backwards": run.backwards + passes - 1.0,
        "images": float(inputs.images),
    }
    return space.table(name, "nats", values, cost=cost, bits=dict(bits or {}))


@torch.no_grad()
def _divergence(inputs: SignalInputs, weights: Mapping[str, NumberFormat]) -> float:
    """Mean divergence of the calibrated network at these formats from the float one, activations at float; never negative."""
    total, images = 0.0, 0
    with private_copy(inputs.model) as model:
        references = [call(model, batch) for batch, _ in inputs.batches]
        for layer in inputs.space.layers:
            weight = getattr(model.get_submodule(layer.module), layer.parameter)  # in place: whatever shares it follows
            weight.copy_(inputs.calibration.weight(layer.name, weights[layer.name]))
        for reference, (batch, _) in zip(references, inputs.batches, strict=True):
            total += float(inputs.task.divergence(reference, call(model, batch)).double().sum())
            images += batch_size(batch)
    return max(total / max(images, 1), 0.0)


def _activations(inputs: SignalInputs) -> Floats:
    """`[L, C]` nats: `fisher` of each choice's activation bits with weights at float."""
    space = inputs.space
    alone = replace(space, menus=tuple(tuple(sorted({Choice(FLOAT, c.activation) for c in menu})) for menu in space.menus))
    table = fisher(replace(inputs, space=alone, progress=None))
    column = {choice: index for index, choice in enumerate(table.choices)}
    return np.nan_to_num(table.values[:, [column[Choice(FLOAT, choice.activation)] for choice in space.choices]])
