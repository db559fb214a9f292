"""`mirror_descent`: the latent weight is a dual variable; a soft rounding that hardens in training maps it to the primal weight.

Ajanthan, Gupta, Torr, Hartley, Dokania: Mirror Descent View for Neural Network Quantization, AISTATS 2021, arXiv 1910.08237. A strictly
increasing map P from the line onto an interval has a mirror map Φ with Φ′ = P⁻¹, so that mirror descent on w is

    a ← a − η · direction(∂L/∂w),    w = step · P_β(a / step)

with P the sum of tanhs or the softmax of `mpsearch.numbers.gradients.soft_rounding`. The gradient of w reaches the dual variable a
unchanged, without P's derivative. Evaluation and export round a to the nearest level, P's limit.

Forms: `stable` (the paper's "-S") keeps a and applies each new β to its whole history. In `direct` β weights new steps only: w is that of
a fixed map `P_β₀` and a moves by `β/β₀ · η · direction`. With a step of 2, that is for weights ±1, this is `w ← tanh(atanh w − ½ β η
direction)` at one bit. For softmax it is the exponentiated gradient over the levels q, `u_q ← u_q · exp(−2 β η q direction / step²)`. Both
are without overflow and without absorbing ends. The parameter holds `a · β₀/β`, rescaled after each step, so every optimizer can be used.

The softmax needs no state per level: with ∂L/∂u_q = q · ∂L/∂w all level duals of a weight stay on the line `v_q = q a − q²/2` through their
initial values, so one number is their exact state under SGD with or without momentum. The line's quadratic term starts each weight at its
nearest level; in the paper level duals start at random, and a level that starts below the mean of its neighbours is never taken. Under
Adam, which would step levels 1 and 2 alike, the direction is computed for w and then multiplied by q per level; for levels −1, 0, 1 that
is the published rule.

β rises geometrically over the training, from `beta_start` to `beta_end`, and acts on a in steps. In the paper it acts on a itself:
`β = step · β_paper` for tanh, `β = step² · β_paper / 2` for softmax. For levels ±1, a step of 2, β is twice the paper's; for more levels
at a step of 1 it is the paper's for tanh, half of it for softmax.

Differences from the paper and its code:

- Scales. The paper has none, since BatchNorm follows everywhere. Here a step per output channel keeps its ratio to mean|a| (stable, no
  gradient), or stays as calibrated (direct, where |a| grows with β).
- Therefore at constant β weights of the stable form do not harden as |a| grows, where theirs do: w is proportional to a common factor of a
  row, and how far a weight is from its level depends on a/mean|a| alone. Only β hardens, and reaches 4e4 for any length of training.
  With a fixed step, how hard the weights are would depend on the learning rate, and a layer without BatchNorm could not change its scale.
- β follows progress, not an iteration count; the initial weights are those of the trained float network.
- Levels are those of `grid`, evenly spaced; theirs are −2, −1, 1, 2 at two bits.
- The dual is rounded, theirs rounds w: with three levels and a small β these differ near the thresholds, where |a| and |w| are on different
  sides of half a step. A zero goes to +step/2 at one bit, where tanh leaves it at 0 in their code and softmax at −1.
- `direct` keeps atanh w, theirs w, with small constants against division by zero. Adam is torch's, with ε inside of the correction of its
  bias; theirs has it outside, which is `ε/√(1 − 0.999^t)` in step t: 3e-7 in place of 1e-8 in the first step.

UNPUBLISHED: more than three levels under tanh, and `direct` with more than two; scales. UNVERIFIED: the paper's main table and its
ImageNet settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mpsearch.core.errors import ConfigError
from mpsearch.methods import METHODS
from mpsearch.methods.learned_step import LearnedStepMethod
from mpsearch.network.network import Network
from mpsearch.network.quantizers import WeightQuantizer
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.gradients.affine import codes, fake_quantize_rows
from mpsearch.numbers.gradients.soft_rounding import softmax_code, softmax_reach, tanh_code, tanh_reach
from mpsearch.numbers.gradients.straight_through import straight_through
from mpsearch.numbers.proportional import ratio_to_mean, step_from_mean

__all__ = ["MirrorDescent"]

_LOWEST_BETA = 0.1
_HIGHEST_BETA = 1e35
_MAPS = {"tanh": (tanh_code, tanh_reach), "softmax": (softmax_code, softmax_reach)}


class _MirrorWeight(WeightQuantizer):
    """Buffers: `beta` `[]`; `scale` `[C]`, the step itself (direct) or its ratio to mean|a| (stable)."""

    beta: Tensor
    scale: Tensor

    def __init__(self, rows: Rows, method: MirrorDescent) -> None:
        super().__init__(rows)
        self.method = method
        self.register_buffer("beta", torch.tensor(method.beta_start))
        self.register_buffer("scale", torch.ones(rows.count))

    def begin(self, weight: Tensor, steps: Tensor) -> None:
        self.beta.fill_(self.method.beta_start)
        self.scale.copy_(steps if self.method.direct else ratio_to_mean(weight, steps))

    def steps(self, weight: Tensor) -> Tensor:
        return self.scale if self.method.direct else step_from_mean(weight, self.scale)

    def dual(self, rows: Tensor) -> Tensor:
        """The dual variable that the parameter stands for, `[C, n]`."""
        return rows * (self.beta / self.method.beta_start) if self.method.direct else rows

    def quantize(self, rows: Tensor) -> Tensor:
        steps, dual = self.steps(rows), self.dual(rows.detach())
        if not self.training:
            return fake_quantize_rows(dual, steps, self.lo, self.hi, self.offset)
        column = steps.unsqueeze(1)
        soft = self._soft_code(dual * column.reciprocal() - self.offset)
        return straight_through(rows, (soft + self.offset) * column)

    def _soft_code(self, x: Tensor) -> Tensor:
        code, reach = _MAPS[self.method.projection]
        beta = torch.full_like(self.beta, self.method.beta_start) if self.method.direct else self.beta
        lowest = self.method.beta_start
        if torch.compiler.is_compiling():
            return code(x, beta, self.lo, self.hi, reach(lowest))
        if not x.is_cuda:  # reading β is free on the CPU; a larger β needs fewer terms
            lowest = beta.item()
        return code(x, beta, self.lo, self.hi, min(reach(lowest), self.grid.levels - 1))

    @torch.no_grad()
    def export(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        rows = self.rows.split(weight)
        steps = self.steps(rows)
        return codes(self.dual(rows), steps.unsqueeze(1), self.grid), steps

    def anneal(self, weight: Tensor, beta: float) -> None:
        """Set a higher β; in the direct form the parameter `weight` is rescaled so that its dual does not change."""
        if self.method.direct:
            weight.mul_(self.beta / beta)
        self.beta.fill_(beta)


@METHODS.register("mirror_descent")
@dataclass(frozen=True, kw_only=True)
class MirrorDescent(LearnedStepMethod):
    """Mirror descent with annealed soft rounding (arXiv 1910.08237).

    Args:
        projection: soft rounding, `tanh` or `softmax`.
        form: `stable` or `direct`, see above.
        beta_start: hardness at the start, in 1/step, see above.
        beta_end: hardness at the end; β rises geometrically in between.

    Raises:
        ConfigError: a β is out of its range.
    """

    paper: ClassVar[str] = "Ajanthan et al., Mirror Descent View for Neural Network Quantization, AISTATS 2021, arXiv 1910.08237"
    description: ClassVar[str] = "latent weights as dual variables, projected by a soft rounding that hardens"

    projection: Literal["tanh", "softmax"] = "tanh"
    form: Literal["stable", "direct"] = "stable"
    beta_start: float = 2.0
    beta_end: float = 4e4

    def __post_init__(self) -> None:
        if not _LOWEST_BETA <= self.beta_start <= self.beta_end <= _HIGHEST_BETA:
            raise ConfigError(
                f"mirror_descent needs {_LOWEST_BETA:g} ≤ beta_start ≤ beta_end ≤ {_HIGHEST_BETA:g}, "
                f"not {self.beta_start!r} and {self.beta_end!r}; start near 2 and end near 4e4",
                path="mirror_descent.beta_start",
            )

    @property
    def direct(self) -> bool:
        """Whether β weights new steps only."""
        return self.form == "direct"

    def beta(self, progress: float) -> float:
        """`beta_start · (beta_end/beta_start)^progress`."""
        return float(self.beta_start * (self.beta_end / self.beta_start) ** progress)

    def weight_quantizer(self, rows: Rows) -> WeightQuantizer:
        """Soft rounding, with one step per output channel."""
        return _MirrorWeight(rows, self)

    def after_step(self, network: Network, progress: float) -> None:
        """Raise β, and keep activation steps near their initial values."""
        beta = self.beta(progress)
        for layer, quantizer in network.quantized(_MirrorWeight):
            quantizer.anneal(network.latent_weight(layer), beta)
        super().after_step(network, progress)
