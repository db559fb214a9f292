"""`ste`: fixed quantizers and the straight-through estimator; the baseline of all methods.

Bengio, Léonard, Courville: Estimating or Propagating Gradients Through Stochastic Neurons, arXiv 1308.3432; scales as in XNOR-Net
(Rastegari et al., arXiv 1603.05279): the weight's step follows the weights, `step = r · mean|w|` per output channel, with r fixed at
calibration. Activation steps stay as calibrated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mpsearch.methods import METHODS
from mpsearch.methods.base import Method
from mpsearch.network.quantizers import ActQuantizer, FixedActQuantizer, WeightQuantizer
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.proportional import ratio_to_mean, step_from_mean

__all__ = ["Ste"]


class _SteWeight(WeightQuantizer):
    ratio: Tensor

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows)
        self.register_buffer("ratio", torch.ones(rows.count))

    def begin(self, weight: Tensor, steps: Tensor) -> None:
        self.ratio.copy_(ratio_to_mean(weight, steps))

    def steps(self, weight: Tensor) -> Tensor:
        return step_from_mean(weight, self.ratio)


@METHODS.register("ste")
@dataclass(frozen=True, kw_only=True)
class Ste(Method):
    """Straight-through estimator with fixed quantizers (arXiv 1308.3432, 1603.05279)."""

    paper: ClassVar[str] = "Bengio et al., arXiv 1308.3432; scales as XNOR-Net, Rastegari et al., arXiv 1603.05279"
    description: ClassVar[str] = "calibrated quantizers, gradients passed straight through; the baseline"

    zero_points: ClassVar[bool] = True

    def weight_quantizer(self, rows: Rows) -> WeightQuantizer:
        """Step proportional to the mean magnitude of the row."""
        return _SteWeight(rows)

    def act_quantizer(self) -> ActQuantizer:
        """The calibrated step."""
        return FixedActQuantizer()
