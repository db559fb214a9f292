"""`pdq`: the cost of the constraint that keeps each layer near its float counterpart; see `mpsearch.methods.pdq`.

    value[l, k] = unit · λ_l · d_l(k)        d_l(k): relative squared change of layer l's output with its weight at k's bits, same input

A short run under proximity constraints at the uniform width nearest to what the budgets allow; λ_l are the multipliers at its
end, the price of layer l's constraint in nats per unit of d_l (see `multipliers`). The constraints require d_l = 0, so every one of them
is active and every layer has a price. d_l(k) is measured on the first batch for every width on the menus, on the calibrated network.

The paper sorts layers by λ and keeps those with the largest in float. λ times d_l of a choice is its first-order extension to many widths
(UNPUBLISHED). In so short a run λ_l is little more than the sum of its excesses (as are the published ones, from 100 epochs): it
shows which layers stay far from their float counterparts in training, not the effect on the outputs: for a ResNet-20 and a
ResNet-18 on the digits, the ranking of layers was opposite to that of `measured` (Spearman −0.6 and −0.3). The unit is that of
`mpsearch.signals.learned.table_of_bits`. Multipliers are not bits: this signal proposes no allocation of its own.
Weights only: each layer's input is quantized in both of the outputs that d_l compares.

Source: Hounie et al., Neural Networks with Quantization Constraints, ICASSP 2023, arXiv 2210.15623.
"""

from __future__ import annotations

import numpy as np

from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT
from mpsearch.core.table import Table
from mpsearch.methods.pdq import Pdq, multipliers, proximities
from mpsearch.network.network import Network
from mpsearch.signals import SIGNALS
from mpsearch.signals.base import Signal, SignalInputs
from mpsearch.signals.learned.short_run import aim, in_uniform_bits, short_run, uniform_bits, widest
from mpsearch.signals.learned.table_of_bits import Floats, passes_of, table_of_weights
from mpsearch.training.recipe import Recipe

__all__ = ["PDQ", "pdq"]

_STEPS = 16
_LOWEST = 1.0
_RECIPE = Recipe(lr=0.01, momentum=0.9, weight_decay=0.0, precision="float32")


def pdq(inputs: SignalInputs) -> Table:
    """Multipliers times relative output errors, `[L, C]` nats.

    Args:
        inputs: `seed` draws the order of the batches.

    Raises:
        ModelError: the float outputs are not finite, or the training diverges.
    """
    trained = in_uniform_bits(inputs)
    target = aim(trained, widest(trained.space), _LOWEST)
    method = Pdq(layerwise=True, eps_layer=0.0, dual_rate=1.0, dual_cap=1e6)
    run = short_run(trained, method, widest(trained.space, round(target)), _RECIPE, steps=_STEPS)
    price = multipliers(run.network)
    errors = _errors(run.network, inputs)
    shape = np.array([price[name] for name in inputs.space.names])[:, None] * errors
    return table_of_weights("pdq", inputs, run, shape, reference=target)


def _errors(network: Network, inputs: SignalInputs) -> Floats:
    """d_l of every choice's weight bits, `[L, C]`, dimensionless; 0 for float weights and for layers whose module is not called."""
    space, trained = inputs.space, network.space
    found = np.zeros(space.allowed.shape)
    network.model.eval()
    for weight in sorted({choice.weight for choice in trained.choices} - {FLOAT}):
        uniform = trained.uniform(Choice(weight))
        network.begin(uniform)
        distances = proximities(network, inputs.batches[0][0])
        for row, name in enumerate(space.names):
            for column, choice in enumerate(space.choices):
                if uniform_bits(choice.weight) == weight == uniform[name].weight and name in distances:
                    found[row, column] = float(distances[name].detach())
    return found


PDQ = SIGNALS.register("pdq")(
    Signal(
        name="pdq",
        paper="Hounie et al., Neural Networks with Quantization Constraints, ICASSP 2023, arXiv 2210.15623",
        description="multipliers of a short training that keeps each layer near its float counterpart, times each choice's output error",
        function=pdq,
        passes=passes_of(_STEPS, per_step=3),
        trains=True,
    )
)
