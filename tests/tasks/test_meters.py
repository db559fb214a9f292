"""The metric of a split is the same however it is cut into batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mpsearch.core.errors import DataError
from mpsearch.tasks.meters import ConfusionMeter, Meter, SampleMeter, SplitMeter, UserMeter, per_sample_values

X, Y = torch.randn(103, 4, generator=torch.Generator().manual_seed(0)), torch.arange(103) % 4


def read(meter: Meter, batch: int, outputs: Any = X, targets: Tensor = Y) -> float:
    for start in range(0, len(targets), batch):
        meter.add(outputs[start : start + batch], targets[start : start + batch])
    return meter.value()


def correct(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(1) == targets).float()


def f1(outputs: Tensor, targets: Tensor) -> Tensor:
    found, true = outputs.argmax(1) == 1, targets == 1
    return 2 * (found & true).sum() / (found.sum() + true.sum())


def correlation(outputs: Tensor, targets: Tensor) -> Any:
    assert targets.unique().numel() > 1, "a batch of one class has none"
    return np.corrcoef(outputs[:, 0].numpy(), targets.numpy())[0, 1]


@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: SampleMeter(correct, "m"), float(correct(X, Y).mean())),
        (lambda: UserMeter(correct, "m"), float(correct(X, Y).mean())),
        (lambda: UserMeter(lambda o, t: correct(o, t).numpy(), "m"), float(correct(X, Y).mean())),
        (lambda: UserMeter(lambda o, t: correct(o, t).unsqueeze(1), "m"), float(correct(X, Y).mean())),
        (lambda: SplitMeter(f1, "m"), float(f1(X, Y))),
        (lambda: UserMeter(f1, "m"), float(f1(X, Y))),
        (lambda: UserMeter(correlation, "m"), float(correlation(X, Y))),
        (
            lambda: ConfusionMeter(lambda o: (o.argmax(1), 4), -1, lambda c: float(c.diagonal().sum() / c.sum())),
            float(correct(X, Y).mean()),
        ),
    ],
)
def test_for_every_batch_size(make: Callable[[], Meter], expected: float, batch: int) -> None:
    assert read(make(), batch) == pytest.approx(expected, rel=1e-6)


def test_a_batch_mean_counts_for_each_of_its_samples() -> None:
    meter = SampleMeter(lambda outputs, targets: outputs.mean(), "m")
    meter.add(torch.ones(3), torch.zeros(3))
    meter.add(torch.full((1,), 5.0), torch.zeros(1))
    assert meter.value() == 2.0


def test_structures_are_kept_whole() -> None:
    meter = SplitMeter(lambda outputs, targets: outputs["a"].sum() + outputs["b"][0].sum(), "m")
    for _ in range(2):
        meter.add({"a": torch.ones(3), "b": (torch.ones(3, 2),)}, torch.zeros(3))
    assert meter.value() == 18.0


def test_ignored_places_are_not_counted() -> None:
    meter = ConfusionMeter(lambda outputs: (outputs, 3), 255, lambda counts: float(counts.sum()))
    meter.add(torch.tensor([[0, 1], [2, 2]]), torch.tensor([[0, 255], [255, 2]]))
    assert meter.value() == 2.0


@pytest.mark.parametrize("meter", [SampleMeter(lambda o, t: o, "m"), SplitMeter(lambda o, t: o, "m"), UserMeter(lambda o, t: o, "m")])
def test_neither_a_number_nor_one_for_each_sample(meter: Meter) -> None:
    with pytest.raises(DataError, match=r"the metric 'm' gives \[103, 4\] for 103 samples"):
        read(meter, 1000)


def test_what_fails_on_the_whole_is_said() -> None:
    def fails(outputs: Tensor, targets: Tensor) -> Tensor:
        raise ZeroDivisionError("no positives\nat all")

    with pytest.raises(DataError, match="the metric 'm' fails on 103 samples: ZeroDivisionError: no positives at all"):
        read(UserMeter(fails, "m"), 10)
    ragged = SplitMeter(f1, "m")
    ragged.add(torch.zeros(2, 3), torch.zeros(2))
    ragged.add(torch.zeros(2, 4), torch.zeros(2))
    with pytest.raises(DataError, match=r"cannot be joined \(shapes \[3\] and \[4\] of a sample\); .* metric_is_mean"):
        ragged.value()
    for empty in (UserMeter(f1, "m"), ConfusionMeter(lambda o: (o, 2), -1, lambda counts: 0.0)):
        with pytest.raises(DataError, match="there is no batch"):
            empty.value()


def test_values_by_sample() -> None:
    values = per_sample_values(torch.ones(3, 1), 3)
    assert values is not None
    assert values.tolist() == [1.0, 1.0, 1.0]
    assert per_sample_values(torch.tensor(1.0), 1) is None
    assert per_sample_values(0.5, 1) is None
