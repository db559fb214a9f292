"""Predictive distributions that outputs stand for: how far apart two are, a sample, and its negative log-likelihood.

Each averages over the positions of a sample (pixels, labels) as the losses of these tasks do, so that distillation weighs the same beside
a loss whatever the number of positions P. The negative log-likelihood of a sampled target is divided by √P instead of P: then half the
mean square of its slope along a small change of the outputs is the divergence, as it is for one position (the Fisher information).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["BERNOULLI", "GAUSSIAN", "Bernoulli", "Categorical", "Gaussian", "Likelihood", "OneLogitOr", "one_logit"]


class Likelihood(ABC):
    """A distribution of the targets, given outputs `[N, …]` of one tensor."""

    @abstractmethod
    def divergence(self, reference: Tensor, outputs: Tensor) -> Tensor:
        """KL divergence from the distribution of `reference` to that of `outputs`, `[N]` nats."""

    @abstractmethod
    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Targets drawn from the distribution; the generator is on the outputs' device."""

    @abstractmethod
    def sampled_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood of sampled targets, `[N]` nats."""


@dataclass(frozen=True)
class Categorical(Likelihood):
    """Logits `[N, K, …]` of one of K classes at each position.

    Args:
        ignore_index: label of targets without a class, which have no likelihood.
    """

    ignore_index: int = -100

    def divergence(self, reference: Tensor, outputs: Tensor) -> Tensor:
        """KL divergence of the classes."""
        log_p, log_q = F.log_softmax(reference.float(), 1), F.log_softmax(outputs.float(), 1)
        return _mean((log_p.exp() * (log_p - log_q)).sum(1))

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Classes `[N, …]`."""
        shares = F.softmax(outputs.detach().float(), 1).movedim(1, -1)
        drawn = torch.multinomial(shares.reshape(-1, shares.shape[-1]), 1, generator=generator)
        return drawn.reshape(shares.shape[:-1])

    def sampled_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy."""
        return _scaled(F.cross_entropy(outputs.float(), targets.long(), reduction="none", ignore_index=self.ignore_index))


@dataclass(frozen=True)
class Bernoulli(Likelihood):
    """Logits `[N, …]` of independent yes-or-no labels."""

    def divergence(self, reference: Tensor, outputs: Tensor) -> Tensor:
        """KL divergence of the labels."""
        r, q = reference.float(), outputs.float()
        yes = torch.sigmoid(r) * (F.logsigmoid(r) - F.logsigmoid(q))
        no = torch.sigmoid(-r) * (F.logsigmoid(-r) - F.logsigmoid(-q))
        return _mean(yes + no)

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Labels 0 and 1, int64, in the shape of the outputs."""
        return torch.bernoulli(torch.sigmoid(outputs.detach().float()), generator=generator).long()

    def sampled_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy."""
        wanted = targets.reshape(outputs.shape).float()
        return _scaled(F.binary_cross_entropy_with_logits(outputs.float(), wanted, reduction="none"))


@dataclass(frozen=True)
class Gaussian(Likelihood):
    """Means `[N, …]` of independent Gaussians of unit variance; summed over the numbers of a sample."""

    def divergence(self, reference: Tensor, outputs: Tensor) -> Tensor:
        """Half the squared distance."""
        return 0.5 * _rows(reference.float() - outputs.float()).square().sum(1)

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """The outputs and noise."""
        noise = torch.randn(outputs.shape, generator=generator, device=outputs.device)
        return outputs.detach().float() + noise

    def sampled_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Half the squared distance, without its constant."""
        return 0.5 * _rows(outputs.float() - targets.reshape(outputs.shape)).square().sum(1)


BERNOULLI = Bernoulli()
GAUSSIAN = Gaussian()


@dataclass(frozen=True)
class OneLogitOr(Likelihood):
    """Classes by logits `[N, K, …]`, or two classes by one logit, `[N, 1, …]` or `[N]`.

    Args:
        classes: the distribution for K of at least 2.
    """

    classes: Categorical = Categorical()

    def divergence(self, reference: Tensor, outputs: Tensor) -> Tensor:
        """KL divergence of the classes."""
        if (r := one_logit(reference)) is not None and (q := one_logit(outputs)) is not None:
            return BERNOULLI.divergence(r, q)
        return self.classes.divergence(reference, outputs)

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Classes `[N, …]`."""
        logits = one_logit(outputs)
        return self.classes.sample(outputs, generator) if logits is None else BERNOULLI.sample(logits, generator)

    def sampled_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy."""
        logits = one_logit(outputs)
        if logits is None:
            return self.classes.sampled_loss(outputs, targets)
        known = targets.reshape(logits.shape) != self.classes.ignore_index
        return BERNOULLI.sampled_loss(torch.where(known, logits, 0.0), torch.where(known, targets.reshape(logits.shape), 0))


def one_logit(outputs: Tensor) -> Tensor | None:
    """The logits `[N, …]` of outputs `[N]` or `[N, 1, …]`; None if there is one for each class."""
    if outputs.dim() == 1:
        return outputs
    return outputs[:, 0] if outputs.shape[1] == 1 else None


def _rows(values: Tensor) -> Tensor:
    """`[N, n]`; of one number a sample too."""
    return values.flatten(1) if values.dim() > 1 else values.unsqueeze(1)


def _mean(values: Tensor) -> Tensor:
    return values if values.dim() == 1 else values.flatten(1).mean(1)


def _scaled(values: Tensor) -> Tensor:
    if values.dim() == 1:
        return values
    rows = values.flatten(1)
    return rows.sum(1) / math.sqrt(rows.shape[1])
