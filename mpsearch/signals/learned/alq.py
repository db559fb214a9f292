"""`alq`: the number of sign vectors that each channel keeps when those whose removal costs least are pruned; see `mpsearch.methods.alq`.

A short run prunes bases over all layers together, linearly from the initial number (at most three bits above the target, so that levels are
few) to the mean that the budgets allow, which may be below one. Each step's gradients enter the loss model, which selects the bases to
prune. Of a channel of n_l weights, a base's score grows with √n_l, as its curvature is the root of a sum of squares, while both the damage
and the price under the budgets grow with n_l: where scores are equal, a layer has log4 √n_l bits more than where its last bit repays
its price,

    b_l = (bases per channel that are left in layer l) − ¼ log2 n_l + const                  const: such that the mean stays

Bases are not bits of a uniform grid: each lowers the squared error by a little less than a factor 4, which the table takes as 4.
Weights only: activations are not quantized by bases here.

Source: Qu et al., Adaptive Loss-aware Quantization for Multi-bit Networks, CVPR 2020, arXiv 1912.08883.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.methods.alq import Alq
from mpsearch.signals import SIGNALS
from mpsearch.signals.base import Signal, SignalInputs
from mpsearch.signals.learned.short_run import aim, in_uniform_bits, mean_bits, short_run, widest
from mpsearch.signals.learned.table_of_bits import passes_of, table_of_bits
from mpsearch.training.recipe import Recipe

__all__ = ["ALQ", "alq", "priced_by_weight"]

_STEPS = 16
_ABOVE = 3
_RECIPE = Recipe(lr=0.01, momentum=0.9, weight_decay=0.0, precision="float32")


def alq(inputs: SignalInputs) -> Table:
    """Sensitivities from the bases that each layer keeps, `[L, C]` nats; `bits` holds b_l.

    Args:
        inputs: `seed` draws the order of the batches.

    Raises:
        ModelError: the float outputs are not finite, or the training diverges.
    """
    trained = in_uniform_bits(inputs)
    target = aim(trained, widest(trained.space), 0.0)
    method = Alq(target_bits=target, prune=0.9, scale_steps=0.0)
    run = short_run(trained, method, widest(trained.space, target + _ABOVE), _RECIPE, steps=_STEPS)
    return table_of_bits("alq", inputs, run, priced_by_weight(inputs.space, method.learned_bits(run.network) or {}))


def priced_by_weight(space: ResolvedSpace, kept: Mapping[str, float]) -> dict[str, float]:
    """Bits by layer name from bases per channel; 32 for layers with float weights."""
    layers = [layer for layer in space.layers if layer.name in kept]
    bits = {layer.name: kept[layer.name] - 0.25 * math.log2(layer.weights / layer.channels) for layer in layers}
    shift = mean_bits(layers, kept) - mean_bits(layers, bits)
    return {name: bits[name] + shift if name in bits else float(FLOAT_BITS) for name in space.names}


ALQ = SIGNALS.register("alq")(
    Signal(
        name="alq",
        paper="Qu et al., Adaptive Loss-aware Quantization for Multi-bit Networks, CVPR 2020, arXiv 1912.08883",
        description="sign vectors that each layer keeps in a short training that prunes those with the least effect on the loss",
        function=alq,
        passes=passes_of(_STEPS),
        trains=True,
    )
)
