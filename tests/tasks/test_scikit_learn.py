"""scikit-learn's own functions, on a split that is read in batches."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import Tensor

from mpsearch.core.errors import ConfigError, DataError
from mpsearch.tasks.scikit_learn import ArrayMetric, larger_is_better, mean_average_precision, name_of, reads_arrays

G = torch.Generator().manual_seed(0)
TWO, THREE, VALUES = torch.randn(60, 2, generator=G), torch.randn(60, 3, generator=G), torch.randn(60, generator=G)
BINARY, CLASSES, LABELS = torch.arange(60) % 2, torch.arange(60) % 3, (torch.randn(60, 3, generator=G) > 0).long()
SOFTMAX, SIGMOID = torch.softmax(THREE.double(), 1).numpy(), torch.sigmoid(VALUES.double()).numpy()

CASES = [
    (metrics.f1_score, TWO, BINARY, metrics.f1_score(BINARY, TWO.argmax(1))),
    (partial(metrics.f1_score, average="macro"), THREE, CLASSES, metrics.f1_score(CLASSES, THREE.argmax(1), average="macro")),
    (metrics.cohen_kappa_score, THREE, CLASSES, None),
    (metrics.balanced_accuracy_score, VALUES, BINARY, metrics.balanced_accuracy_score(BINARY, VALUES > 0)),
    (metrics.f1_score, VALUES.unsqueeze(1), BINARY.float(), metrics.f1_score(BINARY, VALUES > 0)),
    (metrics.roc_auc_score, TWO, BINARY, metrics.roc_auc_score(BINARY, TWO[:, 1] - TWO[:, 0])),
    (metrics.roc_auc_score, VALUES, BINARY, metrics.roc_auc_score(BINARY, VALUES)),
    (partial(metrics.roc_auc_score, multi_class="ovr"), THREE, CLASSES, metrics.roc_auc_score(CLASSES, SOFTMAX, multi_class="ovr")),
    (metrics.log_loss, THREE, CLASSES, metrics.log_loss(CLASSES, SOFTMAX)),
    (metrics.log_loss, VALUES, BINARY, metrics.log_loss(BINARY, SIGMOID)),
    (metrics.average_precision_score, THREE, LABELS, metrics.average_precision_score(LABELS, THREE)),
    (metrics.hamming_loss, THREE, LABELS, metrics.hamming_loss(LABELS, THREE > 0)),
    (metrics.r2_score, VALUES, VALUES + 0.1, metrics.r2_score(VALUES + 0.1, VALUES)),
    (metrics.mean_absolute_error, VALUES, CLASSES, metrics.mean_absolute_error(CLASSES, VALUES)),
    (metrics.ndcg_score, THREE, LABELS.double() * 3, metrics.ndcg_score(LABELS * 3, THREE)),
    (metrics.jaccard_score, TWO.reshape(30, 2, 2), BINARY.reshape(30, 2), None),
]


@pytest.mark.parametrize(("metric", "outputs", "targets", "expected"), CASES)
def test_outputs_become_what_the_function_reads(metric: Any, outputs: Tensor, targets: Tensor, expected: float | None) -> None:
    if name_of(metric) == "cohen_kappa_score":  # y1, y2
        assert not reads_arrays(metric)
        return
    assert reads_arrays(metric)
    if expected is None:
        expected = metrics.jaccard_score(targets.reshape(-1), outputs.movedim(1, -1).reshape(-1, 2).argmax(1))
    assert ArrayMetric(metric)(outputs, targets) == pytest.approx(expected)
    assert ArrayMetric(metric)((torch.zeros(60).long(), outputs), targets) == pytest.approx(expected)


def test_probabilities_are_said() -> None:
    with pytest.raises(DataError, match=r"the outputs all lie between 0 and 1: for the metric 'f1_score' say .*probabilities=True"):
        ArrayMetric(metrics.f1_score)(torch.from_numpy(SIGMOID), BINARY)
    expected = metrics.f1_score(BINARY, VALUES > 0)
    assert ArrayMetric(metrics.f1_score, probabilities=True)(torch.from_numpy(SIGMOID), BINARY) == pytest.approx(expected)
    scores = ArrayMetric(metrics.log_loss, probabilities=True)(torch.from_numpy(SOFTMAX), CLASSES)
    assert scores == pytest.approx(metrics.log_loss(CLASSES, SOFTMAX))
    assert ArrayMetric(metrics.f1_score, probabilities=False)(torch.from_numpy(SIGMOID), BINARY) == metrics.f1_score(BINARY, np.ones(60))


def test_once_logits_always_logits() -> None:
    """A quantized network may collapse to one small positive value."""
    metric = ArrayMetric(metrics.accuracy_score)
    metric(VALUES, BINARY)
    assert metric(torch.full((60,), 0.3), BINARY) == 0.5


def test_what_names_say() -> None:
    assert larger_is_better(metrics.f1_score)
    assert larger_is_better(partial(metrics.fbeta_score, beta=2))
    assert not larger_is_better(metrics.mean_squared_error)
    assert not larger_is_better(metrics.log_loss)
    with pytest.raises(ConfigError, match="whether a larger 'matthews_corrcoef' is better, its name does not tell; pass higher_is_better"):
        larger_is_better(metrics.matthews_corrcoef)


@pytest.mark.parametrize("function", [lambda outputs, targets: 0.0, lambda y_true: 0.0, lambda y_true, outputs: 0.0, max])
def test_other_signatures(function: Any) -> None:
    assert not reads_arrays(function)


def test_labels_that_never_occur_have_no_precision() -> None:
    targets = LABELS.clone()
    targets[:, 1] = 0
    expected = np.mean([metrics.average_precision_score(LABELS[:, label], THREE[:, label]) for label in (0, 2)])
    assert mean_average_precision(targets, THREE) == pytest.approx(expected)
    assert np.isnan(mean_average_precision(torch.zeros(4, 2), torch.zeros(4, 2)))
