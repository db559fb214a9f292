"""Hard concrete masks: random gates in [0, 1] that are exactly 0 or 1 with positive probability, differentiable in their logit φ.

    z = clip(v (ζ − γ) + γ, 0, 1),   v = σ((noise + φ)/β),   noise ~ Logistic(0, 1)

β = 2/3, γ = −0.1, ζ = 1.1: Louizos, Welling, Kingma: Learning Sparse Neural Networks through L0 Regularization, ICLR 2018,
arXiv 1712.01312. Their code clips P(z > 0) to [1e-6, 1 − 1e-6]; here it goes on, so that no mask is without a gradient. UNVERIFIED: that
DropBits uses the same constants.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["gate", "keep_probability", "logistic_noise", "logit_of", "nested", "nested_probability", "sample"]

_BETA = 2 / 3
_GAMMA = -0.1
_ZETA = 1.1
_SHIFT = _BETA * math.log(-_GAMMA / _ZETA)


def logistic_noise(like: Tensor) -> Tensor:
    """Logistic(0, 1) noise of the shape of `like`, from torch's global generator."""
    tiny = torch.finfo(torch.float32).eps
    return torch.logit(torch.rand_like(like), eps=tiny)


def sample(phi: Tensor, noise: Tensor) -> Tensor:
    """Mask z in [0, 1] for logits `phi` and logistic `noise` of the same shape."""
    return _stretch(torch.sigmoid((noise + phi) / _BETA))


def keep_probability(phi: Tensor) -> Tensor:
    """`P(z > 0) = σ(φ − β ln(−γ/ζ))`."""
    return torch.sigmoid(phi - _SHIFT)


def gate(phi: Tensor) -> Tensor:
    """The mask without noise, for evaluation: `clip(σ(φ)(ζ − γ) + γ, 0, 1)`."""
    return _stretch(torch.sigmoid(phi))


def logit_of(probability: float) -> float:
    """The φ whose mask is above zero with this probability, 0 < probability < 1."""
    return math.log(probability / (1 - probability)) + _SHIFT


def nested(masks: Tensor) -> Tensor:
    """`e_k = 1 − Π_{j≥k} (1 − z_j)` along the last axis: the masks inside a kept mask are kept; never increasing in k."""
    return 1 - torch.flip(torch.cumprod(torch.flip(1 - masks, (-1,)), -1), (-1,))


def nested_probability(probabilities: Tensor) -> Tensor:
    """`P(e_k > 0)` for independent masks with given `P(z_k > 0)`: the same formula, since e_k = 0 only if z_j = 0 for all j ≥ k."""
    return nested(probabilities)


def _stretch(v: Tensor) -> Tensor:
    return torch.clamp(v * (_ZETA - _GAMMA) + _GAMMA, 0, 1)
