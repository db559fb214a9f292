"""`alq`: every channel is a sum of scaled sign vectors (bases); the loss decides how many bases a channel keeps.

Qu, Zhou, Cheng, Thiele: Adaptive Loss-aware Quantization for Multi-bit Networks, CVPR 2020, arXiv 1912.08883; mathematics in
`mpsearch.numbers.multibit`. A layer at b bits has b bases per channel on average. A training has three stages:

1. *Pruning*: channels start with `extra_bases` above b. After each step the bases whose removal raises the modelled loss least are
   removed; their number falls linearly to exactly b·C over the share `prune` of the training. With `target_bits` the line ends there
   instead, over the weights of all layers together, and `learned_bits` returns what each layer has kept.
2. *Basis steps*: signs are the levels nearest to t, scales the fit of `Σ h (w − t)²` for these signs. `ste` keeps float weights, which
   take the gradient of the quantized weights unchanged; t are the float weights. `pure` keeps none; t are the quantized weights after one
   optimizer step.
3. *Scale steps*: over the last share `scale_steps` signs are fixed and scales are trained by gradient.

The loss model has gradient g, the running mean, and curvature h = √v̂, v̂ the largest running mean of squares so far (AMSGrad, arXiv
1904.09237, moments 0.9 and 0.999, bias corrected). A scale has gradient `sᵀg` and moments of its own: running ones while its signs stay;
when signs are refitted they begin anew from those of the weights, its squares as the sums over the channel. So the removal of a base costs

    −score_lr · α sᵀg + ½ H α²        H = √(Σ_j v̂_j) after a refit, as in the authors' code

In the loss model of the weights H would be `Σ_j √v̂_j`, larger by about √n for n weights.

Differences from the paper and its code:

- Groups are output channels only, for which the file has scales; theirs may also be kernels, pixels or parts of a channel.
- After the greedy sketch signs and scales are fitted in turn, four rounds, which lowers the squared error and costs little; theirs starts
  from the sketch.
- The recipe's optimizer takes the steps that AMSGrad takes in theirs, so that methods are trained alike. The gradient of a scale is divided
  by n for it, since a gradient step on the weights, projected on signs, moves scales by the mean.
- Stages overlap (bases are pruned during basis steps) and run once, as a trial has few epochs; theirs repeats them four or five times, and
  holds scales and signs while it prunes. After a removal the rest is refitted at once.
- Pruning follows a line to an exact number, where theirs removes a rate and ends near it; all bases are candidates, where theirs first
  draws a share of each layer. Scores are taken from training batches with BatchNorm in training mode, as steps go on; theirs in evaluation.
- `score_lr` is fixed at the first learning rate of the authors' schedule, 1e-3; theirs uses the present one, down to 1e-6. With
  0.1 gradients dominate: a ResNet-14 on the digits, pruned to 2.3 bits over all layers, ended at a validation loss of 0.51, with 1e-3
  at 0.12 (three seeds).
- `ste` keeps float weights from the start, as so it learns in few epochs; theirs does in a last stage only. `pure` is theirs.
- The ridge of the fit is a millionth of the mean diagonal, free of the weights' scale; theirs is 1e-6 (none in the sketch).
- A negative scale is turned together with its signs, and scores stay with their bases after the first removal; both are slips of the
  published code.
- A base counts as a bit as in the paper, so a channel of I bases has at most 2^I values; its half-precision scale counts in the file size
  but not in the bits.
- Activations are quantized as in LSQ; the paper's multibit activations are UNVERIFIED. `grid` has no effect on these weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mpsearch.core.number_format import NumberFormat
from mpsearch.methods import METHODS
from mpsearch.methods.learned_step import LearnedStepMethod
from mpsearch.network.network import Network
from mpsearch.network.quantizers import WeightQuantizer
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.kinds.multibit import MOST_BASES
from mpsearch.numbers.multibit import along, assign, code_of, fit, normalized, scores, sketch, values, weakest

__all__ = ["Alq"]

_MEAN, _SQUARE, _TINY = 0.9, 0.999, 1e-8
_ROUNDS = 4
"""Alternating fits of signs and scales after `sketch`."""


class _AlqWeight(WeightQuantizer):
    """Signs (as codes `[C, n]`), scales `[C, 8]`, the mask of present bases, and the moments of the gradient."""

    present: Tensor
    codes: Tensor
    fixed: Tensor
    grown: Tensor
    mean: Tensor
    square: Tensor
    largest: Tensor
    scale_square: Tensor
    scale_largest: Tensor
    seen: Tensor

    def __init__(self, rows: Rows, score_lr: float) -> None:
        super().__init__(rows)
        self.score_lr = score_lr
        self.elements = math.prod(rows.shape) // rows.count
        self.alpha = nn.Parameter(torch.zeros(rows.count, MOST_BASES))
        self.register_buffer("present", torch.zeros(rows.count, MOST_BASES, dtype=torch.bool))
        self.register_buffer("codes", torch.zeros(rows.count, self.elements, dtype=torch.int16))
        for name in ("mean", "square", "largest"):
            self.register_buffer(name, torch.zeros(rows.count, self.elements))
        for name in ("scale_square", "scale_largest"):
            self.register_buffer(name, torch.zeros(rows.count, MOST_BASES))
        self.register_buffer("seen", torch.zeros(()))
        for name in ("fixed", "grown"):
            self.register_buffer(name, torch.tensor(False))

    @property
    def count(self) -> int:
        """Number of bases in all channels."""
        return int(self.present.sum())

    @property
    def room(self) -> int:
        """Number of bases that the file can store."""
        return self.bits * self.rows.count

    @property
    def curvature(self) -> Tensor:
        """`[C, n]`: h of the loss model; 1 before the first gradient."""
        return torch.ones_like(self.largest) if self.seen == 0 else self._root(self.largest)

    @property
    def curvature_of_scales(self) -> Tensor:
        """`[C, 8]`: H of the score; √n before the first gradient."""
        return torch.full_like(self.scale_largest, self.elements**0.5) if self.seen == 0 else self._root(self.scale_largest)

    def begin(self, weight: Tensor, steps: Tensor) -> None:
        for buffer in (self.mean, self.square, self.largest, self.scale_square, self.scale_largest, self.seen, self.fixed, self.grown):
            buffer.zero_()
        self._sketch(weight, self.bits)

    def steps(self, weight: Tensor) -> Tensor:
        """The scales `[C, 8]`."""
        return self.alpha

    def quantize(self, rows: Tensor) -> Tensor:
        """`Σ_i ±α_i`; gradients reach the weight unchanged, or, once signs are fixed, the scales."""
        if self.fixed:
            return values(self.codes, self.alpha * self.present)
        codes, alphas = (self.codes, self.alpha.detach()) if self.training else self._exported(rows.detach())
        return values(codes, alphas) + (rows - rows.detach())

    @torch.no_grad()
    def export(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        codes, alphas = self._exported(self.rows.split(weight))
        return codes.clone(), alphas.clone()

    def observe(self, gradient: Tensor) -> None:
        """Update the moments with one step's gradient `[C, n]` of the quantized weight; that of the scales is `sᵀg`."""
        self.seen += 1
        self.mean.lerp_(gradient, 1 - _MEAN)
        slope = along(self.codes, gradient, MOST_BASES).float() * self.present
        for x, square, largest in ((gradient, self.square, self.largest), (slope, self.scale_square, self.scale_largest)):
            square.lerp_(x.square(), 1 - _SQUARE)
            torch.maximum(largest, square, out=largest)

    def grow(self, rows: Tensor, extra: int) -> None:
        """At the start of the training, add bases beyond what the file can store; later calls have no effect."""
        if not self.grown and extra and self.bits < MOST_BASES:
            self._sketch(rows, min(self.bits + extra, MOST_BASES))
        self.grown.fill_(True)

    def scores(self) -> tuple[Tensor, Tensor]:
        """Modelled change of the loss by the removal of each base, and the mask of present bases, both `[C, 8]`."""
        gradient = self.score_lr / (1 - _MEAN ** self.seen.clamp_min(1)) * self.mean
        return scores(self.codes, self.alpha.detach(), gradient, self.curvature_of_scales), self.present

    def remove(self, removed: Tensor) -> None:
        """Remove bases, mask `[C, 8]`, permanently."""
        self.present &= ~removed
        self.alpha.mul_(self.present)
        self.codes.copy_(self.codes & code_of(self.present))

    def step(self, rows: Tensor, fix: bool) -> None:
        """After an optimizer step: refit signs and scales, or, once signs are fixed, keep scales positive."""
        scales = self.alpha * self.present
        if fix and self.fixed:
            codes, alphas = normalized(self.codes, scales)
        else:
            codes, alphas = self._fitted(rows, scales, self.present, 1)
            self._derive_squares()
        self.fixed.fill_(fix)
        self.codes.copy_(codes)
        self.alpha.copy_(alphas)

    def _root(self, largest: Tensor) -> Tensor:
        return (largest.sqrt() + _TINY) / (1 - _SQUARE**self.seen).sqrt()

    def _sketch(self, rows: Tensor, bases: int) -> None:
        alphas = nn.functional.pad(sketch(rows, bases)[1], (0, MOST_BASES - bases))
        self.present.copy_(alphas > 0)
        codes, alphas = self._fitted(rows, alphas, self.present, _ROUNDS)
        self.codes.copy_(codes)
        self.alpha.data.copy_(alphas)
        self._derive_squares()

    def _derive_squares(self) -> None:
        """The squares of new signs: as if the gradients of the weights had had independent signs."""
        self.scale_square.copy_(self.square.sum(1, keepdim=True) * self.present)
        self.scale_largest.copy_(self.largest.sum(1, keepdim=True) * self.present)

    def _exported(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Codes and scales for the file; during pruning, those left after immediate pruning to the end."""
        alphas = self.alpha.detach()
        if self.count <= self.room:
            return self.codes, alphas
        found, present = self.scores()
        (removed,) = weakest([found], [present], [1], self.count - self.room)
        return self._fitted(rows, alphas * ~removed, present & ~removed, _ROUNDS)

    def _fitted(self, rows: Tensor, alphas: Tensor, present: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
        """Codes and scales `[C, 8]` after `rounds` alternating fits of signs and scales."""
        used = 1 + max(present.any(0).nonzero().flatten().tolist(), default=0)  # further columns would only cost time
        alphas, present = alphas[:, :used], present[:, :used]
        for _ in range(rounds):
            codes = assign(rows, alphas, present)
            codes, alphas = normalized(codes, fit(rows, codes, present, self.curvature))
        return codes, nn.functional.pad(alphas, (0, MOST_BASES - used))


@METHODS.register("alq")
@dataclass(frozen=True, kw_only=True)
class Alq(LearnedStepMethod):
    """Adaptive loss-aware quantization: sums of sign vectors, pruned by the loss (arXiv 1912.08883).

    Args:
        extra_bases: initial bases of each channel beyond its bits, up to 8 in total; none with `target_bits`.
        prune: share of the training after which all surplus bases are removed.
        scale_steps: last share of the training, in which signs are fixed and scales are trained by gradient.
        variant: `ste` keeps float weights behind the quantized ones, `pure` does not.
        score_lr: weight of the gradient against the curvature in the score of a base; the learning rate in the authors' code.
        target_bits: mean bases per weight, over all quantized layers, to prune to; may be below 1; 0 keeps each layer's bits.
        grid: no effect.

    Raises:
        ConfigError: a value is out of its range.
    """

    paper: ClassVar[str] = "Qu et al., Adaptive Loss-aware Quantization for Multi-bit Networks, CVPR 2020, arXiv 1912.08883"
    description: ClassVar[str] = "each channel a sum of scaled sign vectors, pruned by their effect on the loss"
    compilable: ClassVar[bool] = False
    kinds: ClassVar[frozenset[str]] = frozenset({"uniform", "multibit"})
    grouped: ClassVar[bool] = False

    extra_bases: int = 1
    prune: float = 0.3
    scale_steps: float = 0.1
    variant: Literal["ste", "pure"] = "ste"
    score_lr: float = 0.001
    target_bits: float = 0.0

    def __post_init__(self) -> None:
        self.require(
            "alq",
            extra_bases=(0 <= self.extra_bases < MOST_BASES, "from 0 to 7"),
            prune=(0 <= self.prune <= 1, "from 0 to 1"),
            scale_steps=(0 <= self.scale_steps <= 1 - self.prune, f"from 0 to {1 - self.prune:g}, when all pruning is done"),
            variant=(self.variant in ("ste", "pure"), "'ste' or 'pure'"),
            score_lr=(self.score_lr >= 0, "0 or more"),
            target_bits=(0 <= self.target_bits <= MOST_BASES, "from 0 (bits as given) to 8"),
        )

    def stores(self, asked: NumberFormat) -> NumberFormat | None:
        """`multibit` at the same bits; float stays float."""
        found = super().stores(asked)
        return found if found is None or found.is_float else NumberFormat("multibit", asked.bits)

    def weight_quantizer(self, rows: Rows) -> WeightQuantizer:
        """Sign vectors per output channel."""
        return _AlqWeight(rows, self.score_lr)

    def before_step(self, network: Network, progress: float) -> None:
        """Update the loss model with the gradients of the quantized weights, which reach the float weights unchanged.

        Gradients of scales are divided by n, so that a gradient step on the scales is a step on the weights, projected on the signs.
        """
        for quantizer, weight in _quantized(network).values():
            if weight.grad is not None:
                quantizer.observe(quantizer.rows.split(weight.grad.float()))
            if quantizer.alpha.grad is not None:
                quantizer.alpha.grad.div_(quantizer.elements)

    def after_step(self, network: Network, progress: float) -> None:
        """Prune the bases above the schedule, then refit signs and scales to the weights."""
        for quantizer, weight in _quantized(network).values():
            quantizer.grow(quantizer.rows.split(weight), 0 if self.target_bits else self.extra_bases)
        self._prune_and_refit(network, progress)
        super().after_step(network, progress)

    def after_epoch(self, network: Network, progress: float) -> None:
        """The same without an optimizer step, so that even the shortest training reaches the end of the schedule."""
        self._prune_and_refit(network, progress)

    def learned_bits(self, network: Network) -> Mapping[str, float] | None:
        """Mean bases per channel of each quantized layer; None without `target_bits`."""
        if not self.target_bits:
            return None
        return {name: quantizer.count / quantizer.rows.count for name, (quantizer, _) in _quantized(network).items()}

    def _prune_and_refit(self, network: Network, progress: float) -> None:
        layers = list(_quantized(network).values())
        self._prune(layers, progress)
        for quantizer, weight in layers:
            quantizer.step(quantizer.rows.split(weight), fix=self.scale_steps > 0 and progress >= 1 - self.scale_steps)
            if self.variant == "pure":
                weight.copy_(quantizer.rows.join(values(quantizer.codes, quantizer.alpha)))

    def _prune(self, layers: Sequence[tuple[_AlqWeight, Tensor]], progress: float) -> None:
        left = max(0.0, 1 - progress / self.prune) if self.prune else 0.0
        if self.target_bits:
            first = sum(q.room * q.elements for q, _ in layers)
            last = self.target_bits * sum(q.rows.count * q.elements for q, _ in layers)
            held = sum(q.count * q.elements for q, _ in layers)
            _remove(layers, [q.elements for q, _ in layers], held - (last + max(0.0, first - last) * left))
            return
        for q, weight in layers:
            first = min(q.bits + self.extra_bases, MOST_BASES) * q.rows.count
            _remove([(q, weight)], [1], q.count - (q.room + (first - q.room) * left))


def _remove(layers: Sequence[tuple[_AlqWeight, Tensor]], sizes: Sequence[float], surplus: float) -> None:
    if surplus > 0:
        found, present = zip(*(q.scores() for q, _ in layers), strict=True)
        for (q, _), removed in zip(layers, weakest(found, present, sizes, surplus), strict=True):
            q.remove(removed)


def _quantized(network: Network) -> dict[str, tuple[_AlqWeight, Tensor]]:
    """Quantizer and float weight of every quantized layer."""
    return {layer.name: (quantizer, network.latent_weight(layer)) for layer, quantizer in network.quantized(_AlqWeight)}
