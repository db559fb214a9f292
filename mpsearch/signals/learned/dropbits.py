"""`dropbits`: expected bits under learned masks that drop outer levels; see `mpsearch.methods.cpq`.

A short run of CPQ-style training. A controller adjusts the price of a bit, `bit_penalty`, so that the expected bits fall to the target: the
bits that the budgets allow, at least 3; layers start at most four bits above it. The masks of a layer balance the loss, through the levels
that are open, against a price of N_l/N times the penalty, so their equilibrium is the marginal condition of
`mpsearch.signals.learned.table_of_bits`.

The method's own gradient of a mask exists only while the mask is between open and shut, where it hardly changes a value, and its mean is
zero at a trained network: in so few steps it is noise. Here the masks learn from the last draw instead. With G the loss's
gradient at the quantized weights, under the drawn masks, and x_b the weights rounded on the grid of b bits,

    ∂loss/∂P(b kept) ≈ ⟨G, x_b − x_{b−1}⟩,       φ ← φ − rate · (clip(⟨G, x_b − x_{b−1}⟩ / (penalty · N_l/N), ±2) + 1) · ∂P/∂φ

which is the change of the loss from dropping to keeping, to first order.
In units of the price all layers move at one rate; the optimum is the same.

Each step has one draw of the masks, so this is the noisiest of the signals that learn bits. Weights only: DropBits does not change
activations.

Source: after Lee et al., Cluster-Promoting Quantization with Bit-Drop, ICCV 2021, arXiv 2109.02100. UNPUBLISHED: the controller and this
gradient.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from mpsearch.core.table import Table
from mpsearch.methods.cpq import Cpq, expected_bits, mask_logits
from mpsearch.network.network import Network
from mpsearch.numbers.gradients.affine import codes
from mpsearch.numbers.gradients.hard_concrete import keep_probability, nested_probability
from mpsearch.numbers.grid import weight_grid
from mpsearch.signals import SIGNALS
from mpsearch.signals.base import Signal, SignalInputs
from mpsearch.signals.learned.price_control import PriceController
from mpsearch.signals.learned.short_run import aim, in_uniform_bits, short_run, widest
from mpsearch.signals.learned.table_of_bits import passes_of, table_of_bits
from mpsearch.training.loop import Hooks
from mpsearch.training.recipe import Recipe

__all__ = ["DROPBITS", "dropbits"]

_STEPS = 24
_LOWEST = 2.0
_ABOVE = 4.0
_RATE = 12.0
"""Learning rate of the logits; logits fall by about 4 from a mask that is open in nine of ten draws to one that is nearly always shut."""

_RECIPE = Recipe(lr=0.01, momentum=0.0, weight_decay=0.0, final_lr=0.1, precision="float32")


def dropbits(inputs: SignalInputs) -> Table:
    """Sensitivities from the masks that stay open, `[L, C]` nats; `bits` holds the expected bits.

    Args:
        inputs: `seed` draws the order of the batches, and the masks.

    Raises:
        ModelError: the float outputs are not finite, or the training diverges.
    """
    trained = in_uniform_bits(inputs)
    target = aim(trained, widest(trained.space), _LOWEST)
    method = Cpq(bit_penalty=0.01, search=1.0)
    control = PriceController(method, price="bit_penalty", bits=expected_bits, target=target, gain=1.0)

    def hooks(network: Network) -> Hooks:
        return control.hooks(network, partial(_learn_from_draw, _Gradients(network)))

    run = short_run(trained, method, widest(trained.space, target + _ABOVE), _RECIPE, steps=_STEPS, hooks=hooks)
    return table_of_bits("dropbits", inputs, run, control.bits)


class _Gradients:
    """The loss's gradient at each layer's quantized weight, summed over its uses in a step."""

    def __init__(self, network: Network) -> None:
        self._uses: dict[str, list[Tensor]] = {layer.name: [] for layer in network.space.layers}
        for layer in network.space.layers:
            network.weight_quantizer(layer).register_forward_hook(partial(self._keep, layer.name))

    def _keep(self, name: str, module: nn.Module, args: object, output: Tensor) -> None:
        if output.requires_grad:
            output.retain_grad()
            self._uses[name].append(output)

    def collect(self) -> dict[str, Tensor]:
        found = {name: [use.grad for use in uses if use.grad is not None] for name, uses in self._uses.items()}
        for uses in self._uses.values():
            uses.clear()
        return {name: torch.stack(gradients).sum(0) for name, gradients in found.items() if gradients}


def _learn_from_draw(seen: _Gradients, network: Network, method: Cpq) -> None:
    """Replace the gradients of the masks' logits by those of the module docstring."""
    logits, gradients = mask_logits(network), seen.collect()
    total = sum(layer.weights for layer in network.space.layers if layer.name in logits)
    for layer in network.space.layers:
        if layer.name not in logits or layer.name not in gradients:
            continue
        quantizer, logit = network.weight_quantizer(layer), logits[layer.name]
        rows, slope = (quantizer.rows.split(tensor.detach()) for tensor in (network.latent_weight(layer), gradients[layer.name]))
        steps = quantizer.steps(rows).detach()
        grids = [weight_grid(width, method.grid) for width in range(2, quantizer.bits + 1)]
        moves = [(slope * (codes(rows, steps.unsqueeze(1), grid) + grid.offset) * steps.unsqueeze(1)).sum() for grid in grids]
        price = method.bit_penalty * layer.weights / total
        pull = torch.stack([wide - narrow for narrow, wide in pairwise(moves)] or [torch.zeros_like(logit[0])]) / price
        with torch.enable_grad():
            phi = logit.detach()[: len(pull)].requires_grad_()
            kept = nested_probability(keep_probability(phi))
            (moved,) = torch.autograd.grad((kept * (pull.clamp(-2, 2) + 1)).sum(), phi)
        logit.grad = torch.zeros_like(logit)
        logit.grad[: len(pull)] = moved * (_RATE / _RECIPE.lr)


DROPBITS = SIGNALS.register("dropbits")(
    Signal(
        name="dropbits",
        paper="after Lee et al., Cluster-Promoting Quantization with Bit-Drop, ICCV 2021, arXiv 2109.02100",
        description="expected bits under learned masks on outer levels, from a short training under a price for bits",
        function=dropbits,
        passes=passes_of(_STEPS),
        trains=True,
    )
)
