"""ALQ's bases in the authors' convention and in ours; alq and alq_pruning share them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mpsearch.methods.alq import Alq
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.kinds.multibit import MOST_BASES
from mpsearch.numbers.multibit import sketch

__all__ = ["close", "codes_of", "sketched"]


def codes_of(bases: Tensor) -> Tensor:
    """Codes `[C, n]` of bases `[C, I, n]`."""
    return sum(((bases[:, i] > 0).to(torch.int16) << i for i in range(bases.shape[1])), torch.zeros_like(bases[:, 0], dtype=torch.int16))


def close(ours: Tensor, theirs: Any) -> None:
    """To 1e-5 of the largest: sums of float32 cancel."""
    expected = torch.as_tensor(theirs, dtype=torch.float32)
    torch.testing.assert_close(ours.float(), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def sketched(w: Tensor, bases: int, lr: float) -> Any:
    """The method's quantizer at the sketch itself, without its alternating fits that the authors do not have."""
    quantizer: Any = Alq(score_lr=lr).weight_quantizer(Rows("first", tuple(w.shape)))
    quantizer.bits = bases
    quantizer.begin(w, torch.empty(0))
    codes, alphas = sketch(w, bases)
    quantizer.codes.copy_(codes)
    quantizer.alpha.data.copy_(torch.nn.functional.pad(alphas, (0, MOST_BASES - bases)))
    return quantizer
