"""`dropbits`: expected bits under masks that drop outer levels and are learned; see `mpsearch.methods.cpq`.

A short run of CPQ-style training with the price of a bit, `bit_penalty`, steered so that the expected bits come down to the aim: the bits
the budgets leave room for, at least 3; layers start at most two bits above it. The masks of a layer feel the loss through which levels are
open, and a price of N_l/N times the penalty, so that where they come to rest is the marginal condition of `mpsearch.signals.learned_bits`.

A mask's gradient is as small as its layer's share of the weights, and masks of small layers would not move in so few steps. It counts here
in units of that share, `φ ← φ − rate · clip(∂loss/∂φ / (penalty · N_l/N), −1, 1)`: the same optimum, reached by all layers alike.

Each step sees one draw of the masks: of the signals that learn bits this one is the noisiest. Sees weights only: DropBits leaves
activations alone.

Source: after Lee et al., Cluster-Promoting Quantization with Bit-Drop, ICCV 2021, arXiv 2109.02100. UNPUBLISHED: the steering and the
gradients' unit.
"""

from __future__ import annotations

import time

from mpsearch.core.table import Table
from mpsearch.methods.cpq import Cpq, expected_bits, mask_logits
from mpsearch.network.network import Network
from mpsearch.signals import SIGNALS
from mpsearch.signals.base import Signal, SignalInputs
from mpsearch.signals.learned_bits import table_of_bits
from mpsearch.signals.short_run import aim, short_run, widest
from mpsearch.signals.steering import Steered
from mpsearch.training.loop import Hooks
from mpsearch.training.recipe import Recipe

__all__ = ["DROPBITS", "dropbits"]

_STEPS = 24
_LOWEST = 2.0
_ABOVE = 2.0
_LARGEST_MOVE = 1.5
"""Of a logit in one step; from a mask that is open nine times in ten to one that is nearly always shut are four."""

_RECIPE = Recipe(lr=0.01, momentum=0.0, weight_decay=0.0, final_lr=0.1, precision="float32")


def dropbits(inputs: SignalInputs) -> Table:
    """What the masks that stay open say each layer's choices cost, `[L, C]` nats; `bits` holds the expected bits.

    Args:
        inputs: `seed` draws the order of the batches, and the masks.

    Raises:
        ModelError: the float outputs are not finite, or the training does not stay so.
    """
    began = time.perf_counter()
    target = aim(inputs, widest(inputs.space), _LOWEST)
    method = Cpq(bit_penalty=0.01, search=1.0)
    steered: list[Steered[Cpq]] = []

    def hooks(network: Network) -> Hooks:
        steered.append(
            Steered(network, method, price="bit_penalty", bits=expected_bits, target=target, gain=0.5, rescale=_in_units_of_the_price)
        )
        return steered[0].hooks()

    run = short_run(inputs, method, widest(inputs.space, target + _ABOVE), _RECIPE, steps=_STEPS, hooks=hooks)
    return table_of_bits("dropbits", inputs, run, steered[0].bits, began)


def _in_units_of_the_price(network: Network, method: Cpq) -> None:
    logits = mask_logits(network)
    sizes = {layer.name: layer.weights for layer in network.space.layers if layer.name in logits}
    for name, logit in logits.items():
        if logit.grad is not None:
            price = method.bit_penalty * sizes[name] / sum(sizes.values())
            logit.grad.div_(price).clamp_(-1, 1).mul_(_LARGEST_MOVE / _RECIPE.lr)


DROPBITS = SIGNALS.register("dropbits")(
    Signal(
        name="dropbits",
        paper="after Lee et al., Cluster-Promoting Quantization with Bit-Drop, ICCV 2021, arXiv 2109.02100",
        description="expected bits under learned masks on outer levels, from a short training under a price for bits",
        function=dropbits,
    )
)
