"""`alq`: how many sign vectors a channel keeps when those whose removal costs least go first; see `mpsearch.methods.alq`.

A short run that prunes bases over all layers together, on a straight line from the start (at most three bits above the target, so that
levels are few) down to the mean that the budgets leave room for, which may be below one. Each step's gradients enter the loss model, and
what goes is whatever base the model misses least. So the price is one of a base, which spans the n_l weights of a channel, and the budgets'
is one of a weight: where a layer's last base repays the former, it has log4 n_l bits more than where it repays the latter,

    b_l = (bases a channel that are left in layer l) − ½ log2 n_l + const                    const: such that the mean stays

Bases are not bits of a uniform grid: their squared error falls by a little less than a factor 4 each, which the table takes for 4.

Sees weights only: ALQ's activations are not quantized by bases here.

Source: Qu et al., Adaptive Loss-aware Quantization for Multi-bit Networks, CVPR 2020, arXiv 1912.08883.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.methods.alq import Alq
from mpsearch.signals import SIGNALS
from mpsearch.signals.base import Signal, SignalInputs
from mpsearch.signals.learned.short_run import aim, in_uniform_bits, mean_bits, short_run, widest
from mpsearch.signals.learned.table_of_bits import table_of_bits
from mpsearch.training.recipe import Recipe

__all__ = ["ALQ", "alq"]

_STEPS = 16
_ABOVE = 3
_RECIPE = Recipe(lr=0.01, momentum=0.9, weight_decay=0.0, precision="float32")


def alq(inputs: SignalInputs) -> Table:
    """What the bases that each layer keeps say its choices cost, `[L, C]` nats; `bits` holds b_l.

    Args:
        inputs: `seed` draws the order of the batches.

    Raises:
        ModelError: the float outputs are not finite, or the training does not stay so.
    """
    began = time.perf_counter()
    trained = in_uniform_bits(inputs)
    target = aim(trained, widest(trained.space), 0.0)
    method = Alq(target_bits=target, prune=0.9, scale_steps=0.0)
    run = short_run(trained, method, widest(trained.space, target + _ABOVE), _RECIPE, steps=_STEPS)
    return table_of_bits("alq", inputs, run, _priced_by_weight(inputs.space, method.learned_bits(run.network) or {}), began)


def _priced_by_weight(space: ResolvedSpace, kept: Mapping[str, float]) -> dict[str, float]:
    """Bits by layer name from bases a channel; 32 for layers that have none, because their weights are float."""
    layers = [layer for layer in space.layers if layer.name in kept]
    bits = {layer.name: kept[layer.name] - 0.5 * math.log2(layer.weights / layer.channels) for layer in layers}
    shift = mean_bits(layers, kept) - mean_bits(layers, bits)
    return {name: bits[name] + shift if name in bits else float(FLOAT_BITS) for name in space.names}


ALQ = SIGNALS.register("alq")(
    Signal(
        name="alq",
        paper="Qu et al., Adaptive Loss-aware Quantization for Multi-bit Networks, CVPR 2020, arXiv 1912.08883",
        description="sign vectors that each layer keeps in a short training which drops those the loss misses least",
        function=alq,
    )
)
