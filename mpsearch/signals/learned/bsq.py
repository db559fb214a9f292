"""`bsq`: the share of each layer's bit planes that is left when a group lasso empties them; see `mpsearch.methods.bsq`.

A short run from the widest bits on the menus. A controller adjusts the lasso's α so that the mean bits fall to the target: the bits that
the budgets allow, at least 3. Useful values of α span a small factor and differ between networks. There is one re-quantization halfway and
one at the end; more would cut planes that the loss is still filling. Few planes of millions of weights are completely empty after so few
steps, so soft bits are used, the size of each plane relative to its initial size,

    b_l = 1 + Σ_j min(1, ‖(p_j, n_j)‖ / ‖(p_j, n_j)‖ at the start)

averaged over the last part of the run. The lasso's pull on a plane does not grow with the plane, and is weighted by N_l: in a run that ends
before planes converge, large layers lose bits first. Compared with other signals this one depends more on size.
Weights only.

Source: Yang et al., BSQ, ICLR 2021, arXiv 2102.10462. UNPUBLISHED: the controller and the soft bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mpsearch.core.table import Table
from mpsearch.methods.bsq import Bsq, plane_sizes
from mpsearch.network.network import Network
from mpsearch.signals import SIGNALS
from mpsearch.signals.base import Signal, SignalInputs
from mpsearch.signals.learned.price_control import PriceController
from mpsearch.signals.learned.short_run import aim, in_uniform_bits, short_run, widest
from mpsearch.signals.learned.table_of_bits import passes_of, table_of_bits
from mpsearch.training.recipe import Recipe

__all__ = ["BSQ", "bsq"]

_STEPS = 16
_LOWEST = 2.0
_RECIPE = Recipe(lr=0.02, momentum=0.9, weight_decay=0.0, final_lr=0.1, precision="float32")


def bsq(inputs: SignalInputs) -> Table:
    """Sensitivities from the planes that are left, `[L, C]` nats; `bits` holds the soft bits.

    Args:
        inputs: `seed` draws the order of the batches.

    Raises:
        ModelError: the float outputs are not finite, or the training diverges.
    """
    trained = in_uniform_bits(inputs)
    start = widest(trained.space)
    method = Bsq(alpha=0.05, interval=0.5, search=1.0)
    full: dict[str, Tensor] = {}

    def soft_bits(network: Network) -> dict[str, float]:
        bits = {layer.name: float(network.weight_quantizer(layer).bits) for layer in network.space.layers}
        for name, sizes in plane_sizes(network).items():
            first = full.setdefault(name, sizes)
            left = torch.where(first > 0, sizes / first.clamp_min(1e-12), 0.0)
            bits[name] = 1 + float(left.clamp_max(1).sum())
        return bits

    control = PriceController(method, price="alpha", bits=soft_bits, target=aim(trained, start, _LOWEST), gain=0.3, arrive=0.6)
    run = short_run(trained, method, start, _RECIPE, steps=_STEPS, hooks=control.hooks)
    return table_of_bits("bsq", inputs, run, control.bits)


BSQ = SIGNALS.register("bsq")(
    Signal(
        name="bsq",
        paper="Yang et al., BSQ: Exploring Bit-Level Sparsity for Mixed-Precision Quantization, ICLR 2021, arXiv 2102.10462",
        description="bit planes that a short training under a group lasso leaves in each layer",
        function=bsq,
        passes=passes_of(_STEPS),
        trains=True,
    )
)
