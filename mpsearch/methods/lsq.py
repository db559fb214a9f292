"""`lsq`: learned step size quantization; steps are trained with the weights.

Esser, McKinstry, Bablani, Appuswamy, Modha: Learned Step Size Quantization, ICLR 2020, arXiv 1902.08153. Differences: one step per
output channel instead of one per layer; initial steps have the least squared error instead of `2⟨|v|⟩/√hi`; gradients pass within half a
step of the last level (see `mpsearch.numbers.gradients.affine`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mpsearch.methods import METHODS
from mpsearch.methods.learned_step import LearnedStepMethod, LearnedStepWeight, OffsetSuperblockWeight
from mpsearch.network.quantizers import WeightQuantizer
from mpsearch.numbers.channels import Rows

__all__ = ["Lsq"]


@METHODS.register("lsq")
@dataclass(frozen=True, kw_only=True)
class Lsq(LearnedStepMethod):
    """Learned step size quantization (arXiv 1902.08153)."""

    paper: ClassVar[str] = "Esser et al., Learned Step Size Quantization, ICLR 2020, arXiv 1902.08153"
    description: ClassVar[str] = "steps trained by gradient together with the weights"

    zero_points: ClassVar[bool] = True
    superblocks: ClassVar[bool] = True

    def weight_quantizer(self, rows: Rows) -> WeightQuantizer:
        """Learned step per row."""
        return OffsetSuperblockWeight(rows) if rows.granularity == "offset_superblock" else LearnedStepWeight(rows)
