"""Metrics with scikit-learn's signature, `(y_true, y_pred)` or `(y_true, y_score)`, as metrics of outputs and targets."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpsearch.core.errors import ConfigError, DataError
from mpsearch.tasks.outputs import prediction_of

__all__ = ["ArrayMetric", "larger_is_better", "mean_average_precision", "name_of", "reads_arrays"]

_SCORES = ("y_score", "y_proba", "y_prob")
_OF_PROBABILITIES = ("log_loss", "d2_log_loss_score")
"""Functions of scikit-learn that call probabilities `y_pred`."""
_LARGER, _SMALLER = ("_score",), ("_error", "_loss", "_deviance")


def reads_arrays(metric: Callable[..., Any]) -> bool:
    """Whether the first two parameters are `y_true` and one of `y_pred`, `y_score`, `y_proba`, `y_prob`."""
    names = _parameters(metric)
    return names[:1] == ["y_true"] and names[1:2] in [["y_pred"], *([name] for name in _SCORES)]


def name_of(metric: Callable[..., Any]) -> str:
    """The function's name, without what `functools.partial` fixes."""
    while isinstance(metric, partial):
        metric = metric.func
    return getattr(metric, "__name__", type(metric).__name__)


def larger_is_better(metric: Callable[..., Any]) -> bool:
    """What scikit-learn's names say: `…_score` is better when larger, `…_error`, `…_loss` and `…_deviance` when smaller.

    Raises:
        ConfigError: the name says neither.
    """
    name = name_of(metric)
    if not name.endswith((*_LARGER, *_SMALLER)):
        raise ConfigError(f"task: whether a larger '{name}' is better, its name does not tell; pass higher_is_better=True or False")
    return name.endswith(_LARGER)


class ArrayMetric:
    """`(outputs, targets)` → the metric, computed by a function of NumPy arrays.

    | outputs | targets | `y_pred` | `y_score` |
    |---|---|---|---|
    | `[N, K, …]` | classes `[N, …]`, whole numbers | the largest | probabilities `[N, K]`; of class 1 if K = 2 |
    | one number for each target | all 0 or 1 | 1 where the logit is positive | probability of 1 |
    | anything else | anything | the outputs | the outputs |

    Args:
        metric: with scikit-learn's signature.
        output: which entry of structured outputs is scored.
        probabilities: whether outputs are probabilities instead of logits. Without it they are logits; if all the outputs of the first call
            lie between 0 and 1, where it makes a difference, it has to be said.
    """

    def __init__(self, metric: Callable[..., Any], output: str | int | None = None, probabilities: bool | None = None) -> None:
        self._metric, self._output, self._probabilities = metric, output, probabilities
        self._scores = _parameters(metric)[1] in _SCORES or name_of(metric) in _OF_PROBABILITIES

    def __call__(self, outputs: Any, targets: Tensor) -> Any:
        """The metric.

        Raises:
            DataError: it has to be said whether outputs are probabilities.
        """
        scores, true = prediction_of(outputs, self._output).detach().double().cpu(), targets.cpu()
        if scores.dim() == true.dim() + 1 and scores.shape[1] > 1 and not true.is_floating_point():
            rows = scores.movedim(1, -1).reshape(-1, scores.shape[1])
            return self._metric(true.reshape(-1).numpy(), self._of_classes(rows).numpy())
        if scores.numel() == true.numel():
            scores = scores.reshape(true.shape)
            if bool(((true == 0) | (true == 1)).all()):
                return self._metric(true.long().numpy(), self._of_labels(scores).numpy())
        return self._metric(true.numpy(), scores.numpy())

    def _of_classes(self, rows: Tensor) -> Tensor:
        if not self._scores:
            return rows.argmax(1)
        shares = rows if self._are_probabilities(rows) else torch.softmax(rows, 1)
        return shares[:, 1] if rows.shape[1] == 2 else shares

    def _of_labels(self, scores: Tensor) -> Tensor:
        given = self._are_probabilities(scores)
        if self._scores:
            return scores if given else torch.sigmoid(scores)
        return (scores > (0.5 if given else 0.0)).long()

    def _are_probabilities(self, scores: Tensor) -> bool:
        if self._probabilities is None:
            if bool(((scores >= 0) & (scores <= 1)).all()):
                raise DataError(
                    f"the outputs all lie between 0 and 1: for the metric '{name_of(self._metric)}' say Task.custom(…, probabilities=True) "
                    "if the network ends in a sigmoid or softmax, False if these are logits"
                )
            self._probabilities = False  # for good: the outputs of a quantized network may well collapse
        return self._probabilities


def _parameters(metric: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(metric).parameters)
    except (TypeError, ValueError):  # built-in functions have none
        return []


def mean_average_precision(targets: Tensor, scores: Tensor) -> float:
    """Mean over labels of the average precision, of those labels that occur.

    Args:
        targets: 0 or 1, `[N, K]`.
        scores: `[N, K]`.
    """
    from sklearn.metrics import average_precision_score

    present = [label for label in range(targets.shape[1]) if bool(targets[:, label].any())]
    values = [average_precision_score(targets[:, label].long().numpy(), scores[:, label].float().numpy()) for label in present]
    return float(np.mean(values)) if values else float("nan")
