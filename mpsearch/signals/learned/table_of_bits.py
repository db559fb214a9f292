"""From learned bits to a table: the sensitivities at which a training with a price per bit stops at these bits.

With damage that falls by a factor 4 per bit, `D_l(b) = c_l · 4^−b` (squared rounding error, for any grid of many levels), and one price
π per weight and bit, the sum `Σ_l c_l 4^−b_l + π Σ_l N_l b_l` is minimal where the last bit of each layer repays its price,

    ln 4 · c_l · 4^−b*_l = π N_l    ⇒    value[l, k] = c_l 4^−w_k = (π / ln 4) · N_l · 4^(b*_l − w_k)        w_k: weight bits of choice k

N_l weights, b*_l learned bits. The price is specific to the training and not comparable with other signals, so the unit is measured: the
table of weights is scaled to the divergence (nats) from the float outputs, on the signal's images, of the network with all weights at the
widest uniform bits not above the mean of b*. Another price would shift all b*_l alike, so the ranking of allocations is the same at every
budget. An allocation of least value is near b*, apart from integer bits and the ends of the menus.

No method learns activation bits here. If a menu has them, their part is that of `fisher` for rounded inputs with float weights, added to
that of the weights, with one more forward and backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT, FLOAT_BITS, NumberFormat
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.network.inputs import call
from mpsearch.signals.base import SignalInputs, private_copy
from mpsearch.signals.direct.fisher import fisher
from mpsearch.signals.learned.short_run import ShortRun, epochs_of, mean_bits

__all__ = ["passes_of", "table_of_bits", "table_of_weights"]

Floats = NDArray[np.float64]


def table_of_bits(name: str, inputs: SignalInputs, run: ShortRun, bits: Mapping[str, float]) -> Table:
    """The table of the module docstring, `[L, C]` nats, with b* in `bits`.

    Args:
        name: of the signal.
        inputs: inputs of the signal.
        run: the training.
        bits: b*_l by layer name, fractional if the method allows; 32 for layers without learned bits.
    """
    space = inputs.space
    sizes = np.array([layer.weights for layer in space.layers], dtype=np.float64)
    learned = np.array([bits[layer] for layer in space.names])
    widths = np.array([choice.weight.bits_per_value for choice in space.choices], dtype=np.float64)
    quantized = (learned < FLOAT_BITS)[:, None] & (widths < FLOAT_BITS)
    shape = np.where(quantized, sizes[:, None] * np.exp2(2 * (learned[:, None] - widths)), 0.0)
    known = {layer: value for layer, value in bits.items() if value < FLOAT_BITS}
    return table_of_weights(name, inputs, run, shape, reference=mean_bits(space.layers, known), bits=known)


def table_of_weights(
    name: str, inputs: SignalInputs, run: ShortRun, shape: Floats, *, reference: float, bits: Mapping[str, float] | None = None
) -> Table:
    """Scale `shape`, `[L, C]` in any unit and zero for float weights, to nats, and add the activations' part.

    Args:
        name: of the signal.
        inputs: inputs of the signal.
        run: the training.
        shape: relative damage of the weights.
        reference: bits of the measured uniform network: the widest format on the menus not above it, or the narrowest of all.
        bits: learned bits by layer name, if any.
    """
    space = inputs.space
    weights = sorted({choice.weight for choice in space.choices})
    below = [weight for weight in weights if weight.bits_per_value <= reference]
    uniform = space.uniform(Choice(below[-1] if below else weights[0]))
    total = sum(shape[row, space.choices.index(uniform[layer])] for row, layer in enumerate(space.names))
    measured = _divergence(inputs, {layer: choice.weight for layer, choice in uniform.items()})
    values = shape * (measured / total if total > 0 else 0.0)
    if space.quantizes_activations:
        values = values + _activations(inputs)
    further = _passes_for_units(space)
    cost = {"forwards": run.forwards + further[0], "backwards": run.backwards + further[1]}
    return space.table(name, "nats", values, cost=cost, bits=dict(bits or {}))


def passes_of(steps: int, *, per_step: int = 1) -> Callable[[ResolvedSpace, int], tuple[float, float]]:
    """The passes of a signal of this kind, see `Signal.passes`.

    Args:
        steps: approximate number of steps of its training.
        per_step: forward passes of a step.
    """

    def passes(space: ResolvedSpace, batches: int) -> tuple[float, float]:
        epochs, further = epochs_of(steps, batches), _passes_for_units(space)
        return 1.0 + per_step * epochs + further[0], epochs + further[1]  # the float outputs, the targets of the training

    return passes


def _passes_for_units(space: ResolvedSpace) -> tuple[float, float]:
    """Float and quantized outputs for the unit of the weights, and `fisher` for activations."""
    activations = float(space.quantizes_activations)
    return 2.0 + activations, activations


@torch.no_grad()
def _divergence(inputs: SignalInputs, weights: Mapping[str, NumberFormat]) -> float:
    """Mean divergence of the calibrated network with these weight formats and float activations from the float network; never negative."""
    total = 0.0
    with private_copy(inputs.model) as model:
        references = [call(model, batch) for batch, _ in inputs.batches]
        for layer in inputs.space.layers:
            weight = getattr(model.get_submodule(layer.module), layer.parameter)  # in place, so that shared weights follow
            weight.copy_(inputs.calibration.weight(layer.name, weights[layer.name]))
        for reference, (batch, _) in zip(references, inputs.batches, strict=True):
            total += float(inputs.task.divergence(reference, call(model, batch)).double().sum())
    return max(total / inputs.images, 0.0)


def _activations(inputs: SignalInputs) -> Floats:
    """`[L, C]` nats: `fisher` of each choice's activation bits with weights at float."""
    space = inputs.space
    alone = replace(space, menus=tuple(tuple(sorted({Choice(FLOAT, c.activation) for c in menu})) for menu in space.menus))
    table = fisher(replace(inputs, space=alone, progress=None))
    column = {choice: index for index, choice in enumerate(table.choices)}
    return np.nan_to_num(table.values[:, [column[Choice(FLOAT, choice.activation)] for choice in space.choices]])
