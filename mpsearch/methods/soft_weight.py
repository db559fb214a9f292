"""`SoftWeight`: a weight quantizer with learnable rounding (AdaRound), up or down per weight.

Nagel, Amjad, van Baalen, Louizos, Blankevoort: Up or Down? Adaptive Rounding for Post-Training Quantization, ICML 2020, arXiv 2004.10568,
eq. 21 to 24: while soft, codes are `floor(w/step − offset) + h(v)`,

    h(v) = clamp(1.2 σ(v) − 0.1, 0, 1),     openness: mean(1 − |2h − 1|^β)

and minimising the openness while β falls drives every h to 0 or 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mpsearch.methods.learned_step import LearnedStepWeight
from mpsearch.numbers.channels import Rows

__all__ = ["SoftWeight"]

_STRETCH = 1.2
_MARGIN = 0.02
"""Minimum distance of the initial h from 0 and 1, since v has no gradient where h is clamped."""


class SoftWeight(LearnedStepWeight):
    """LSQ quantizer, except between `soften` and `harden`."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows)
        self._soft = False
        self._floor = self._v = torch.empty(0)

    def soften(self, weight: Tensor) -> Tensor:
        """Make rounding soft, with h at the position of `weight` `[C, n]` between its two codes; returns v `[C, n]`, a leaf to train."""
        position = (weight / self.step.detach().unsqueeze(1) - self.grid.offset).clamp(self.grid.lo, self.grid.hi)
        self._floor = position.floor()
        share = (position - self._floor).clamp(_MARGIN, 1 - _MARGIN)
        self._v = ((share + (_STRETCH - 1) / 2) / _STRETCH).logit().requires_grad_()
        self._soft = True
        return self._v

    def openness(self, beta: float) -> Tensor:
        """`[]`, 0 where every h is 0 or 1."""
        return (1 - (2 * self._share() - 1).abs() ** beta).mean()

    def harden(self) -> Tensor:
        """Make rounding hard again; returns the learned codes, `[C, n]`."""
        codes = (self._floor + (self._share() > 0.5)).clamp(self.grid.lo, self.grid.hi).detach()
        self._soft = False
        self._floor = self._v = torch.empty(0)
        return codes

    def quantize(self, rows: Tensor) -> Tensor:
        """Quantize with soft codes between `soften` and `harden`, else as LSQ."""
        if not self._soft:
            return super().quantize(rows)
        codes = torch.clamp(self._floor + self._share(), self.grid.lo, self.grid.hi)
        return (codes + self.grid.offset) * self.step.unsqueeze(1)

    def _share(self) -> Tensor:
        return (_STRETCH * self._v.sigmoid() - (_STRETCH - 1) / 2).clamp(0, 1)
