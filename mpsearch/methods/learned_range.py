"""`learned_range`: step and range of every quantizer are trained, and, with a budget, the bits that both imply.

Uhlich, Mauch, Cardinaux, Yoshiyama, Garcia, Tiedemann, Kemp, Nakamura: Mixed Precision DNNs: All you need is a good parametrization, ICLR
2020, arXiv 1905.11452. Quantizer and implied bits: `mpsearch.methods.uniform_range`. Three parametrizations (section 2.1): `u3` learns
(step d, range m) and derives the bits b; `u1` learns (b, d) and `u2` (b, m), with `m = top(b) · d`, `top(b) = 2^(b−1) − 1` for weights and
`2^b − 1` for an unsigned activation; b is rounded, straight through. `u1` and `u2` are kept for comparison.

Without a budget the bits are the allocation's and one number per tensor is learned: m with `d = m / top` (`u3` and `u2`, which are then
the same; the paper's rows at fixed bits), or d (`u1`). With `weight_budget` or `act_budget` (mean bits S₀) the weights or the activations
learn their bits, from the allocation's downwards:

    loss + λ · relu(S_w − S₀_w)² + λ · relu(S_a − S₀_a)²                                                              (eq. 10)

`S_w = Σ N_l b_l / Σ N_l` over the weights that the allocation quantizes; `S_a` likewise over input elements (`sum`, eq. 8b), or
`max_l A_l b_l / max_l A_l` (`max`, eq. 8c; of equal layers the first has the gradient). With so steep a term two stabilisers are
essential: gradients of d and m are clipped to [−d, d], so a step of plain gradient descent moves them by at most lr · d (Adam ignores
magnitudes and has no such bound: lower `scale_lr`), and after each step d is clamped so that `1 ≤ m/d ≤ top` of the allocation. The
penalty is 0 inside the budget and the bits fluctuate around it; the caller must remove any excess that is left after training.

With `levels: power_of_two` the levels of weights are ±m · 2^−k, with `act_levels: power_of_two` those of activations 0 and m · 2^−k; the
second learned number is the smallest magnitude q (eq. 4 to 6, the paper's P3; `b = ⌈log2(log2(m/q) + 1)⌉ + 1`). See
`mpsearch.methods.power_range`; only `u3` has such a form here.

Levels, gradients, implied bits and penalty are those of the authors' code (with `snap` and symmetric grids), and are tested against it.
Differences, each with its reason:

- d and m are one pair per layer, for weights times fixed ratios of the calibrated per-channel steps, and start as calibrated, not at
  max|w|: BatchNorm is folded in, and channels differ in scale.
- `snap`, steps that are powers of two, is an option: no target needs them.
- The grid is the library's two's complement with its lowest code, which files store anyway.
- Half a code goes to the even one, theirs away from zero: as in the rest of the library, so that training and files agree.
- Bits stay between 2 and the allocation's, whose codes the file holds. Theirs go down to 1 for activations, and beyond 8.
- Bits are learned with a budget only: otherwise the allocation says them. A budget of 8, never exceeded, is the nearest to theirs without
  one.
- Budgets are mean bits, theirs kilobytes with λ scaled by the square of the model's size; so one λ serves all sizes. The paper's 0.1 per
  kB² is about 100 on its ResNet-20.
- A parameter is brought back into its limits after the step, and has its whole gradient there. Theirs is clipped before use, without
  gradient at a limit, and kept 1e-5 off it; here the start is at a limit, since the allocation's bits are both.
- Gradients are clipped without a budget too: otherwise training sometimes diverged. A width moves by at most lr bits.
- d and m stay within a factor 32 of their initial values instead of 2^−8 … 127, made for weights near 1, and have no weight decay: it
  would shrink them whatever the loss.
- The bias is not quantized, as in all methods here.
- While activation bits are learned, evaluation and export quantize to `m / top` at the allocation's bits, no coarser than in training: a
  file stores one step per activation and no range.
- For powers of two without `snap`, m is any number and q is m over a power of two: scales are floats in the file. A signed activation,
  which the paper does not have, has a sign instead of the zero, as weights do. The paper's extra scale of the logits is left out: scales
  are stored per channel, and BatchNorm is folded into them.

Which learning rate gave each published number is UNVERIFIED.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor

from mpsearch.core.number_format import FLOAT_BITS, NumberFormat
from mpsearch.methods import METHODS
from mpsearch.methods.base import Batch, Method
from mpsearch.methods.learned_width import LOWEST_BITS, LearnedWidth
from mpsearch.methods.power_range import PowerRangeActivation, PowerRangeWeight
from mpsearch.methods.uniform_range import Parametrization, RangeActivation, RangeWeight
from mpsearch.network.network import Network
from mpsearch.network.quantizers import ActQuantizer, WeightQuantizer
from mpsearch.numbers.channels import Rows

__all__ = ["LearnedRange", "Parametrization", "excess", "soft_bits"]

Levels = Literal["uniform", "power_of_two"]


@METHODS.register("learned_range")
@dataclass(frozen=True, kw_only=True)
class LearnedRange(Method):
    """Learned step and range, and with a budget learned bits (arXiv 1905.11452).

    Args:
        parametrization: learned quantities: `u3` step and range, `u2` bits and range, `u1` bits and step.
        weight_budget: target mean weight bits; 0 takes weight bits as given.
        act_budget: target activation bits; 0 takes them as given.
        act_budget_kind: `sum`: mean over all activations' elements; `max`: bits of the activation that takes the most memory.
        penalty: λ, nats per squared bit.
        levels: levels of weights: `uniform`, or `power_of_two`, ±m · 2^−k, for `u3` only.
        act_levels: levels of activations, likewise, with a zero if the input is unsigned.
        snap: whether steps (for powers of two, the largest levels) are powers of two.

    Raises:
        ConfigError: a value is out of its range.
    """

    paper: ClassVar[str] = "Uhlich et al., Mixed Precision DNNs: All you need is a good parametrization, ICLR 2020, arXiv 1905.11452"
    description: ClassVar[str] = "step and range trained by gradient; under a budget, also the bits that they imply"

    kinds: ClassVar[frozenset[str]] = frozenset({"uniform"})

    parametrization: Parametrization = "u3"
    weight_budget: float = 0.0
    act_budget: float = 0.0
    act_budget_kind: Literal["sum", "max"] = "sum"
    penalty: float = 100.0
    levels: Levels = "uniform"
    act_levels: Levels = "uniform"
    snap: bool = False

    def __post_init__(self) -> None:
        fitting = ("uniform", "power_of_two") if self.parametrization == "u3" else ("uniform",)
        rule = "uniform, or power_of_two with the parametrization u3"
        self.require(
            "learned_range",
            parametrization=(self.parametrization in ("u3", "u2", "u1"), "u3, u2 or u1"),
            weight_budget=(self.weight_budget == 0 or LOWEST_BITS <= self.weight_budget <= 8, "0 (bits as given) or from 2 to 8"),
            act_budget=(self.act_budget == 0 or LOWEST_BITS <= self.act_budget <= 8, "0 (bits as given) or from 2 to 8"),
            act_budget_kind=(self.act_budget_kind in ("sum", "max"), "sum or max"),
            penalty=(self.penalty > 0, "above 0"),
            levels=(self.levels in fitting, rule),
            act_levels=(self.act_levels in fitting, rule),
        )

    def stores(self, asked: NumberFormat) -> NumberFormat | None:
        """Uniform numbers, or powers of two, as `levels` selects."""
        if self.levels == "uniform" or asked.is_float:
            return super().stores(asked)
        fits = asked.kind in ("uniform", "power_of_two") and not asked.zero_point
        return replace(asked, kind="power_of_two") if fits else None

    def stores_input(self, asked: NumberFormat) -> NumberFormat | None:
        """Uniform numbers, or powers of two, as `act_levels` selects."""
        if self.act_levels == "uniform" or asked.is_float:
            return super().stores_input(asked)
        return replace(asked, kind="power_of_two")

    def weight_quantizer(self, rows: Rows) -> WeightQuantizer:
        """Step and range of the layer, with fixed ratios of its channels."""
        if self.levels == "power_of_two":
            return PowerRangeWeight(rows, self.weight_budget > 0, self.snap)
        return RangeWeight(rows, self.parametrization, self.weight_budget > 0, self.snap)

    def act_quantizer(self) -> ActQuantizer:
        """One step and range, or one largest and smallest power of two."""
        if self.act_levels == "power_of_two":
            return PowerRangeActivation(self.act_budget > 0, self.snap)
        return RangeActivation(self.parametrization, self.act_budget > 0, self.snap)

    def objective(self, network: Network, batch: Batch) -> Tensor:
        """The loss plus the penalty of bits above the budgets."""
        loss = batch.loss
        if self.weight_budget:
            loss = loss + self.penalty * excess(_weights(network), self.weight_budget)
        if self.act_budget:
            loss = loss + self.penalty * excess(_activations(network), self.act_budget, largest=self.act_budget_kind == "max")
        return loss

    def before_step(self, network: Network, progress: float) -> None:
        """Clip the gradients of step and range."""
        for quantizer in _quantizers(network):
            quantizer.clip_gradients()

    def after_step(self, network: Network, progress: float) -> None:
        """Keep steps and ranges positive and consistent."""
        for quantizer in _quantizers(network):
            quantizer.project()

    def learned_bits(self, network: Network) -> Mapping[str, float] | None:
        """Integer weight bits by layer name, 32 for float layers; None without a weight budget."""
        if not self.weight_budget:
            return None
        return {layer.name: _width_of(network.weight_quantizer(layer)).whole_bits() for layer in network.space.layers}

    def learned_act_bits(self, network: Network) -> Mapping[str, float] | None:
        """Integer activation bits by name of the layers whose menu quantizes their input; None without an activation budget."""
        if not self.act_budget:
            return None
        quantizers = {layer.name: network.act_quantizer(layer) for layer in network.space.layers}
        return {name: _width_of(quantizer).whole_bits() for name, quantizer in quantizers.items() if quantizer is not None}


def soft_bits(network: Network) -> dict[str, float]:
    """Weight bits by layer name before rounding up, `log2(k + 1) + 1` for k levels on each side; 32 for float weights.

    Raises:
        ValueError: the network has another method.
    """
    if not isinstance(network.method, LearnedRange):
        raise ValueError(f"soft bits are those of the method learned_range, not of {type(network.method).__name__}")
    return {layer.name: _width_of(network.weight_quantizer(layer)).soft_bits() for layer in network.space.layers}


def excess(tensors: list[tuple[int, LearnedWidth]], budget: float, *, largest: bool = False) -> Tensor | float:
    """`relu(S − S₀)²` in squared bits, with gradients; 0 if all tensors are float.

    Args:
        tensors: (elements, quantizer) pairs.
        budget: S₀, bits.
        largest: S is `max_l A_l b_l / max_l A_l` instead of the mean; of equal tensors the first has the gradient.
    """
    counted = [(elements, quantizer.bits_now()) for elements, quantizer in tensors if quantizer.bits != FLOAT_BITS]
    if not counted:
        return 0.0
    memory = torch.stack([elements * bits for elements, bits in counted])
    sizes = [elements for elements, _ in counted]
    bits = memory[memory.argmax()] / max(sizes) if largest else memory.sum() / sum(sizes)  # `max` would divide the gradient among equals
    return torch.relu(bits - budget).square()


def _width_of(quantizer: WeightQuantizer | ActQuantizer) -> LearnedWidth:
    return cast(LearnedWidth, quantizer)


def _weights(network: Network) -> list[tuple[int, LearnedWidth]]:
    return [(layer.weights, _width_of(network.weight_quantizer(layer))) for layer in network.space.layers]


def _activations(network: Network) -> list[tuple[int, LearnedWidth]]:
    inputs = [(layer.input_elements, network.act_quantizer(layer)) for layer in network.space.layers]
    return [(elements, _width_of(quantizer)) for elements, quantizer in inputs if quantizer is not None]


def _quantizers(network: Network) -> list[LearnedWidth]:
    return [quantizer for _, quantizer in _weights(network) + _activations(network)]
