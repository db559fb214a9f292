"""`Task`: the loss, the metric and the divergence of a kind of problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mpsearch.core.errors import ConfigError
from mpsearch.tasks.labels import check_class_scores, check_multi_label, check_segments
from mpsearch.tasks.likelihood import BERNOULLI, GAUSSIAN, Categorical, Likelihood, OneLogitOr, one_logit
from mpsearch.tasks.meters import ConfusionMeter, Meter, SampleMeter, SplitMeter, UserMeter, per_sample_values
from mpsearch.tasks.outputs import counted_parts, prediction_of
from mpsearch.tasks.scikit_learn import ArrayMetric, larger_is_better, mean_average_precision, name_of, reads_arrays
from mpsearch.tasks.tokens import NextToken, PerplexityMeter, check_tokens, mean_token_loss, next_tokens

__all__ = ["Criterion", "Task"]

Criterion = Callable[[Any, Any], Tensor]
"""(outputs or reference outputs, targets or outputs) → a scalar, or one value per sample."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Loss, metric and divergence of one kind of problem.

    Outputs are whatever the network returns in evaluation mode: a tensor, or a tuple, list, dict or dataclass of tensors. The ready tasks
    score one tensor of them, the *prediction*: what `output` names, else the entry `logits`, else the first floating-point tensor. Where
    neither a name nor `output` tells the prediction, divergence and sampling count every other floating-point tensor too, as the mean of a
    unit-variance Gaussian.

    Args:
        name: `classification`, `regression`, `multi-label`, `segmentation`, `language model` or a custom name.
        metric_name: name of the metric, such as `accuracy`.
        loss: `(outputs, targets [N, …]) → []`, the mean training loss; over a split, the mean over samples.
        per_sample: `(outputs, targets) → [N]`, the metric of each sample; None if the metric is one of the whole split.
        meter: makes a meter that reads a split in batches and gives its metric.
        error: metric → error, lower is better (classification: `1 − accuracy`).
        divergence: `(reference outputs, outputs) → [N]` in nats; zero where they agree.
        sample: `(outputs, generator) → targets`, drawn from the model's predictive distribution; a tuple if several tensors count, that of
            the prediction first.
        sampled_loss: `(outputs, sampled targets) → [N]`, the negative log-likelihood of sampled targets; of the prediction alone if targets
            are one tensor.
        check: `(outputs of some samples, targets of others)`: raises DataError or ModelError where they do not fit; None: no further check.
        guess: targets of a split → the metric of the best answer that is the same for every input; None if that is unknown.
    """

    name: str
    metric_name: str
    loss: Criterion
    per_sample: Callable[[Any, Tensor], Tensor | None]
    meter: Callable[[], Meter]
    error: Callable[[float], float]
    divergence: Criterion
    sample: Callable[[Any, torch.Generator], Any]
    sampled_loss: Criterion
    check: Callable[[Any, Tensor], None] | None = None
    guess: Callable[[Tensor], float] | None = None

    @classmethod
    def classification(cls, *, label_smoothing: float = 0.0, output: str | int | None = None) -> Task:
        """Logits `[N, K]` against class indices `[N]`: cross-entropy, accuracy, KL divergence.

        One logit, `[N, 1]` or `[N]`, tells the labels 0 and 1 apart: binary cross-entropy, accuracy by sign.

        Args:
            label_smoothing: share of the target that all classes get alike.
            output: name or position of the prediction in structured outputs.
        """

        def loss(outputs: Any, targets: Tensor) -> Tensor:
            scores = prediction_of(outputs, output)
            logits = one_logit(scores)
            if logits is None:
                return F.cross_entropy(scores.float(), targets.long(), label_smoothing=label_smoothing)
            wanted = targets.reshape(logits.shape).float() * (1 - label_smoothing) + label_smoothing / 2
            return F.binary_cross_entropy_with_logits(logits.float(), wanted)

        def correct(outputs: Any, targets: Tensor) -> Tensor:
            scores = prediction_of(outputs, output)
            logits = one_logit(scores)
            found = scores.argmax(-1) if logits is None else (logits > 0).long()
            return (found == targets.reshape(found.shape)).float()

        return cls(
            name="classification",
            metric_name="accuracy",
            loss=loss,
            per_sample=correct,
            meter=partial(SampleMeter, correct, "accuracy"),
            error=_complement,
            check=lambda outputs, targets: check_class_scores(prediction_of(outputs, output), targets),
            guess=lambda targets: float(torch.bincount(targets.flatten().long().clamp_min(0)).max()) / targets.numel(),
            **_distribution(OneLogitOr(), output),
        )

    @classmethod
    def regression(cls, *, output: str | int | None = None) -> Task:
        """Outputs `[N, …]` against targets of the same size: mean squared error; a unit-variance Gaussian for divergence and sampling.

        Args:
            output: name or position of the prediction in structured outputs.
        """

        def loss(outputs: Any, targets: Tensor) -> Tensor:
            values = prediction_of(outputs, output)
            return F.mse_loss(values.float(), targets.reshape(values.shape).float())

        def squared_error(outputs: Any, targets: Tensor) -> Tensor:
            values = prediction_of(outputs, output)
            return (values.float() - targets.reshape(values.shape)).reshape(len(values), -1).square().mean(1)

        return cls(
            name="regression",
            metric_name="MSE",
            loss=loss,
            per_sample=squared_error,
            meter=partial(SampleMeter, squared_error, "MSE"),
            error=_itself,
            guess=lambda targets: float(targets.float().var(dim=0, correction=0).mean()),
            **_distribution(GAUSSIAN, output),
        )

    @classmethod
    def multi_label(cls, *, metric: Literal["mAP", "accuracy"] = "mAP", output: str | int | None = None) -> Task:
        """Logits `[N, K]` against targets 0 or 1 `[N, K]`: binary cross-entropy, Bernoulli divergence, both averaged over labels.

        Args:
            metric: `mAP`, the mean over labels of the average precision on the whole split, as on VOC and COCO (labels that never occur are
                left out); or `accuracy`, the share of labels that are right by sign.
            output: name or position of the prediction in structured outputs.

        Raises:
            ConfigError: there is no such metric.
        """
        _require_metric(metric, ("mAP", "accuracy"))

        def loss(outputs: Any, targets: Tensor) -> Tensor:
            return F.binary_cross_entropy_with_logits(prediction_of(outputs, output).float(), targets.float())

        def correct(outputs: Any, targets: Tensor) -> Tensor:
            return ((prediction_of(outputs, output) > 0) == (targets > 0)).float().mean(1)

        def precision(outputs: Any, targets: Tensor) -> float:
            return mean_average_precision(targets, prediction_of(outputs, output))

        return cls(
            name="multi-label",
            metric_name=metric,
            loss=loss,
            per_sample=correct if metric == "accuracy" else _none,
            meter=partial(SampleMeter, correct, metric) if metric == "accuracy" else partial(SplitMeter, precision, metric),
            error=_complement,
            check=lambda outputs, targets: check_multi_label(prediction_of(outputs, output), targets),
            **_distribution(BERNOULLI, output),
        )

    @classmethod
    def segmentation(
        cls, *, ignore_index: int = 255, metric: Literal["mIoU", "pixel accuracy"] = "mIoU", output: str | int | None = None
    ) -> Task:
        """Logits `[N, K, …]` against class indices `[N, …]`, or `[N, 1, …]` for two classes by one logit: cross-entropy, KL divergence.

        Loss and divergence average over the places of a sample, then over samples; the loss leaves out places with the ignored label.

        Args:
            ignore_index: label of places that do not count.
            metric: `mIoU`, the mean over classes of intersection over union, all places of the split counted together, as on PASCAL VOC and
                Cityscapes (classes that neither occur nor are predicted are left out); or `pixel accuracy`, the share of places that are
                right.
            output: name or position of the prediction in structured outputs.

        Raises:
            ConfigError: there is no such metric.
        """
        _require_metric(metric, ("mIoU", "pixel accuracy"))

        def loss(outputs: Any, targets: Tensor) -> Tensor:
            scores = prediction_of(outputs, output)
            logits = one_logit(scores)
            places = targets.reshape(len(scores), *scores.shape[2:])
            known = places != ignore_index
            if logits is None:
                values = F.cross_entropy(scores.float(), places.long(), ignore_index=ignore_index, reduction="none")
            else:
                wanted = torch.where(known, places, 0).float()
                values = F.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="none") * known
            return (values.flatten(1).sum(1) / known.flatten(1).sum(1).clamp_min(1)).mean()

        def predict(outputs: Any) -> tuple[Tensor, int]:
            scores = prediction_of(outputs, output)
            logits = one_logit(scores)
            return ((logits > 0).long(), 2) if logits is not None else (scores.argmax(1), scores.shape[1])

        finish = _mean_intersection_over_union if metric == "mIoU" else _share_on_the_diagonal
        return cls(
            name="segmentation",
            metric_name=metric,
            loss=loss,
            per_sample=_none,
            meter=partial(ConfusionMeter, predict, ignore_index, finish),
            error=_complement,
            check=lambda outputs, targets: check_segments(prediction_of(outputs, output), targets, ignore_index),
            **_distribution(OneLogitOr(Categorical(ignore_index)), output),
        )

    @classmethod
    def language_model(cls, *, shift: bool = False, output: str | int | None = None) -> Task:
        """Logits `[N, T, V]` against the tokens that follow, `[N, T]`: cross-entropy, perplexity, KL divergence by token.

        Loss and divergence average over positions, then samples; perplexity counts all tokens of a split, but for targets of −100.

        Args:
            shift: targets are the inputs themselves, as Hugging Face's labels are; if not, `targets[:, t]` is what follows `inputs[:, t]`.
            output: name or position of the logits in structured outputs.
        """
        scored = partial(next_tokens, shift=shift, output=output)
        return cls(
            name="language model",
            metric_name="perplexity",
            loss=lambda outputs, targets: mean_token_loss(*scored(outputs, targets)),
            per_sample=_none,
            meter=partial(PerplexityMeter, scored),
            error=_itself,
            check=lambda outputs, targets: check_tokens(outputs, targets, output),
            **_distribution(NextToken(), output),
        )

    @classmethod
    def custom(
        cls,
        *,
        loss: Criterion,
        metric: Callable[..., Any] | None = None,
        metric_name: str | None = None,
        higher_is_better: bool | None = None,
        metric_is_mean: bool = False,
        probabilities: bool | None = None,
        output: str | int | None = None,
    ) -> Task:
        """A custom loss and metric, for ranking and anything else.

        Divergence and sampling take every floating-point tensor of the outputs as means of a unit-variance Gaussian.

        Args:
            loss: `(outputs, targets) → []`; gets the outputs as the network returns them.
            metric: the loss if not given. `(outputs, targets) → [N]` is averaged over samples; one that returns a number is computed once
                on all outputs and targets of a split, which are kept on the CPU for it, as F1, correlation or a rank statistic needs. A
                function with scikit-learn's signature, `(y_true, y_pred)` or `(y_true, y_score)`, gets NumPy arrays of the targets, and
                predicted classes or scores, see `mpsearch.tasks.scikit_learn.ArrayMetric`.
            metric_name: name of the metric; that of its function if not given.
            higher_is_better: whether a larger metric is better. If not given, scikit-learn's function names tell; any other is better when
                smaller.
            metric_is_mean: the metric returns the mean of a batch, and that of a split is their mean, weighted by samples; needs no memory.
            probabilities: for scikit-learn's signature: whether outputs are probabilities instead of logits.
            output: name or position of the one tensor of structured outputs that loss, metric and divergence get.

        Raises:
            ConfigError: a function is not callable, or whether larger is better cannot be told.
        """
        for what, given in (("loss", loss), ("metric", loss if metric is None else metric)):
            if not callable(given):
                raise ConfigError(f"task: {what} must be a function of (outputs, targets), not {given!r}", path="task")
        arrays = metric is not None and reads_arrays(metric)
        if higher_is_better is None:
            higher_is_better = arrays and metric is not None and larger_is_better(metric)
        if metric_name is None:
            metric_name = "loss" if metric is None else name_of(metric)

        def chosen(function: Callable[..., Any]) -> Callable[[Any, Tensor], Any]:
            return function if output is None else lambda outputs, targets: function(prediction_of(outputs, output), targets)

        measure = chosen(loss if metric is None else metric)
        if arrays and metric is not None:
            measure = ArrayMetric(metric, output, probabilities)

        def per_sample(outputs: Any, targets: Tensor) -> Tensor | None:
            return None if arrays or metric is None or metric_is_mean else per_sample_values(measure(outputs, targets), len(targets))

        kind = SampleMeter if metric is None or metric_is_mean else SplitMeter if arrays else UserMeter
        return cls(
            name="custom",
            metric_name=metric_name,
            loss=chosen(loss),
            per_sample=per_sample,
            meter=partial(kind, measure, metric_name),
            error=_negated if higher_is_better else _itself,
            **_distribution(GAUSSIAN, output),
        )


def _distribution(likelihood: Likelihood, output: str | int | None) -> dict[str, Any]:
    """Divergence, sampling and its loss, summed over the tensors that count: the prediction by `likelihood`, others as Gaussian means."""

    def pairs(outputs: Any) -> list[tuple[Likelihood, Tensor]]:
        return [(GAUSSIAN if place else likelihood, part) for place, part in enumerate(counted_parts(outputs, output))]

    def divergence(reference: Any, outputs: Any) -> Tensor:
        both = zip(counted_parts(reference, output), pairs(outputs), strict=True)
        return _summed([kind.divergence(first, second) for first, (kind, second) in both])

    def sample(outputs: Any, generator: torch.Generator) -> Any:
        drawn = tuple(kind.sample(part, generator) for kind, part in pairs(outputs))
        return drawn[0] if len(drawn) == 1 else drawn

    def sampled_loss(outputs: Any, targets: Any) -> Tensor:
        given = targets if isinstance(targets, tuple) else (targets,)
        return _summed([kind.sampled_loss(part, target) for (kind, part), target in zip(pairs(outputs), given, strict=False)])

    return {"divergence": divergence, "sample": sample, "sampled_loss": sampled_loss}


def _summed(values: list[Tensor]) -> Tensor:
    return reduce(torch.add, values)


def _mean_intersection_over_union(counts: Tensor) -> float:
    common, either = counts.diagonal(), counts.sum(0) + counts.sum(1) - counts.diagonal()
    return float((common / either)[either > 0].mean())


def _share_on_the_diagonal(counts: Tensor) -> float:
    return float(counts.diagonal().sum() / counts.sum())


def _require_metric(metric: str, known: tuple[str, ...]) -> None:
    if metric not in known:
        raise ConfigError(f"task: the metric must be one of {', '.join(known)}, not {metric!r}; for others, Task.custom", path="task")


def _none(outputs: Any, targets: Tensor) -> None:
    return None


def _complement(metric: float) -> float:
    return 1.0 - metric


def _negated(metric: float) -> float:
    return -metric


def _itself(metric: float) -> float:
    return metric
