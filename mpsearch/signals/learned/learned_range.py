"""`learned_range`: bits that learned steps and ranges imply when every bit has a price; see `mpsearch.methods.learned_range`.

A short run from the widest bits on the menus under the penalty `λ · relu(S − 2)²` on the mean bits S. A controller adjusts λ so that S
falls to the target: the bits that the budgets allow, at least 3. Step d and range m of a layer are stationary where loss and penalty
balance, which is the marginal condition of `mpsearch.signals.learned.table_of_bits`; the result is the soft bits `log2(m/d + 1) + 1`.

The published stabiliser, gradients within ±d, is so tight compared with the penalty that in a short run all layers lose bits together,
whatever their sensitivity. Here gradients of d and m are in units of the penalty's own share,

    θ ← θ · (1 − lr · clip(θ · ∂loss/∂θ / share_l, −1, 1)),       share_l = 2 λ (S − 2) · N_l/N / ln 2

so a layer moves by the ratio of the effect of its bits on the loss to their price; the clip is reached where they have no effect, or
twice their price. The optimum is the same.

Weights only: the run has no activation budget, since which budget limits activations is not known here.

Source: Uhlich et al., Mixed Precision DNNs, ICLR 2020, arXiv 1905.11452. UNPUBLISHED: this use, the controller, and the gradients' unit.
"""

from __future__ import annotations

import math
from functools import partial

from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.table import Table
from mpsearch.methods.learned_range import LearnedRange, soft_bits
from mpsearch.methods.learned_width import LOWEST_BITS
from mpsearch.network.network import Network
from mpsearch.signals import SIGNALS
from mpsearch.signals.base import Signal, SignalInputs
from mpsearch.signals.learned.price_control import PriceController
from mpsearch.signals.learned.short_run import aim, in_uniform_bits, mean_bits, short_run, widest
from mpsearch.signals.learned.table_of_bits import passes_of, table_of_bits
from mpsearch.training.recipe import Recipe

__all__ = ["LEARNED_RANGE", "learned_range"]

_STEPS = 48
_RECIPE = Recipe(lr=0.01, scale_lr=20.0, momentum=0.0, weight_decay=0.0, final_lr=0.1, precision="float32")
_LEAST_EXCESS = 0.05
"""Minimum excess in bits, so that the price does not vanish when the mean falls below the budget."""


def learned_range(inputs: SignalInputs) -> Table:
    """Sensitivities from the learned bits, `[L, C]` nats; `bits` holds the learned bits.

    Args:
        inputs: `seed` draws the order of the batches.

    Raises:
        ModelError: the float outputs are not finite, or the training diverges.
    """
    trained = in_uniform_bits(inputs)
    start = widest(trained.space)
    method = LearnedRange(weight_budget=LOWEST_BITS, penalty=0.01)
    control = PriceController(method, price="penalty", bits=soft_bits, target=aim(trained, start, LOWEST_BITS), gain=1.0)
    hooks = partial(control.hooks, rescale=_in_units_of_the_price)
    run = short_run(trained, method, start, _RECIPE, steps=_STEPS, hooks=hooks)
    return table_of_bits("learned_range", inputs, run, control.bits)


def _in_units_of_the_price(network: Network, method: LearnedRange) -> None:
    bits = soft_bits(network)
    counted = {layer.name: layer.weights for layer in network.space.layers if bits[layer.name] < FLOAT_BITS}
    excess = max(mean_bits(network.space.layers, bits) - method.weight_budget, _LEAST_EXCESS)
    for layer in network.space.layers:
        if layer.name in counted:
            share = 2 * method.penalty * excess * counted[layer.name] / sum(counted.values()) / math.log(2)
            for parameter in network.weight_quantizer(layer).parameters(recurse=False):
                if parameter.grad is not None:
                    parameter.grad.copy_((parameter.grad * parameter / share).clamp_(-1, 1) * parameter)


LEARNED_RANGE = SIGNALS.register("learned_range")(
    Signal(
        name="learned_range",
        paper="Uhlich et al., Mixed Precision DNNs: All you need is a good parametrization, ICLR 2020, arXiv 1905.11452",
        description="bits implied by steps and ranges that a short training learns under a price for bits",
        function=learned_range,
        passes=passes_of(_STEPS),
        trains=True,
    )
)
