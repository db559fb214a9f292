"""`Task`: the loss, the metric and the divergence of a kind of problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Criterion", "Task"]

Criterion = Callable[[Tensor, Tensor], Tensor]
"""(outputs or reference outputs, targets or outputs) → a scalar, or one value per sample."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Loss, metric and divergence of one kind of problem.

    Args:
        name: `classification`, `regression` or a custom name.
        metric_name: name of the metric, such as `accuracy`.
        loss: `(outputs [N, …], targets [N, …]) → []`, the mean training loss.
        per_sample: `(outputs, targets) → [N]`, the metric of each sample; reports show the mean.
        error: mean metric → error, lower is better (classification: `1 − accuracy`).
        divergence: `(reference outputs, outputs) → [N]` in nats; zero where they agree.
        sample: `(outputs, generator) → targets`, drawn from the model's predictive distribution.
        sampled_loss: `(outputs, sampled targets) → [N]`, the negative log-likelihood of sampled targets.
    """

    name: str
    metric_name: str
    loss: Criterion
    per_sample: Criterion
    error: Callable[[float], float]
    divergence: Criterion
    sample: Callable[[Tensor, torch.Generator], Tensor]
    sampled_loss: Criterion

    @classmethod
    def classification(cls, *, label_smoothing: float = 0.0) -> Task:
        """Logits `[N, K]` against class indices `[N]`: cross-entropy, accuracy, KL divergence."""

        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            return F.cross_entropy(outputs.float(), targets.long(), label_smoothing=label_smoothing)

        return cls(
            name="classification",
            metric_name="accuracy",
            loss=loss,
            per_sample=lambda outputs, targets: (outputs.argmax(-1) == targets).float(),
            error=lambda accuracy: 1.0 - accuracy,
            divergence=_kl,
            sample=_draw_classes,
            sampled_loss=lambda outputs, targets: F.cross_entropy(outputs.float(), targets, reduction="none"),
        )

    @classmethod
    def regression(cls) -> Task:
        """Outputs `[N, …]` against targets of the same size: mean squared error; a unit-variance Gaussian for divergence and sampling."""
        return cls.custom(
            loss=lambda outputs, targets: F.mse_loss(outputs.float(), targets.reshape(outputs.shape).float()),
            metric=_mse_per_sample,
            metric_name="MSE",
            higher_is_better=False,
        )

    @classmethod
    def custom(cls, *, loss: Criterion, metric: Criterion | None = None, metric_name: str = "loss", higher_is_better: bool = False) -> Task:
        """A custom loss and metric; divergence and sampling take the outputs as means of a unit-variance Gaussian.

        Args:
            loss: `(outputs, targets) → []`.
            metric: `(outputs, targets) → [N]` or `[]`; the loss if not given.
            metric_name: name of the metric.
            higher_is_better: whether a larger metric is better.
        """
        measure = loss if metric is None else metric

        def per_sample(outputs: Tensor, targets: Tensor) -> Tensor:
            value = measure(outputs, targets)
            return value if value.dim() else value.expand(len(outputs))

        return cls(
            name="custom" if metric_name != "MSE" else "regression",
            metric_name=metric_name,
            loss=loss,
            per_sample=per_sample,
            error=(lambda mean: -mean) if higher_is_better else (lambda mean: mean),
            divergence=lambda reference, outputs: 0.5 * (reference.float() - outputs.float()).flatten(1).square().sum(1),
            sample=_draw_gaussian,
            sampled_loss=lambda outputs, targets: 0.5 * (outputs.float() - targets).flatten(1).square().sum(1),
        )


def _kl(reference: Tensor, outputs: Tensor) -> Tensor:
    log_p, log_q = F.log_softmax(reference.float(), -1), F.log_softmax(outputs.float(), -1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def _mse_per_sample(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.float() - targets.reshape(outputs.shape)).flatten(1).square().mean(1)


def _draw_classes(outputs: Tensor, generator: torch.Generator) -> Tensor:
    return torch.multinomial(F.softmax(outputs.detach().float(), -1), 1, generator=generator).squeeze(1)


def _draw_gaussian(outputs: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(outputs.shape, generator=generator, device=outputs.device)
    return outputs.detach().float() + noise
