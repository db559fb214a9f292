"""Meters: they read a split batch by batch and give its metric, the same for every batch size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from mpsearch.core.errors import DataError
from mpsearch.core.nested import mapped
from mpsearch.tasks.outputs import collected

__all__ = ["ConfusionMeter", "Meter", "SampleMeter", "SplitMeter", "UserMeter", "per_sample_values"]


class Meter(Protocol):
    """Reads a split in batches."""

    def add(self, outputs: Any, targets: Tensor) -> None:
        """Read one batch."""

    def join(self, other: Self) -> None:
        """Count what another meter of the same task has read as read here."""

    def value(self) -> float:
        """The metric of all batches read."""


class SampleMeter:
    """The mean over samples.

    Args:
        metric: `(outputs, targets)` → one value per sample; or `[]`, a batch's mean, which counts for each of its samples.
        name: of the metric, for messages.
    """

    def __init__(self, metric: Callable[[Any, Tensor], Any], name: str) -> None:
        self._metric, self._name = metric, name
        self._sum, self._samples = 0.0, 0

    def add(self, outputs: Any, targets: Tensor) -> None:
        """Add a batch's values."""
        samples = len(targets)
        found = self._metric(outputs, targets)
        values = per_sample_values(found, samples)
        if values is not None:
            self._sum += float(values.double().sum())
        else:
            self._sum += _number(self._name, found, samples) * samples
        self._samples += samples

    def join(self, other: SampleMeter) -> None:
        """Add the other's sum."""
        self._sum += other._sum
        self._samples += other._samples

    def value(self) -> float:
        """The mean."""
        return self._sum / self._samples


class SplitMeter:
    """A metric of the whole split: all outputs and targets are kept on the CPU, and the metric is computed once.

    Args:
        metric: `(outputs, targets)` → a number, or one value per sample.
        name: of the metric, for messages.
    """

    def __init__(self, metric: Callable[[Any, Tensor], Any], name: str) -> None:
        self._metric, self._name = metric, name
        self._outputs: list[Any] = []
        self._targets: list[Tensor] = []

    def add(self, outputs: Any, targets: Tensor) -> None:
        """Keep a batch."""
        self._outputs.append(mapped(outputs, lambda leaf: leaf.detach().cpu() if isinstance(leaf, Tensor) else leaf))
        self._targets.append(targets.cpu())

    def join(self, other: SplitMeter) -> None:
        """Keep the other's batches, without a copy."""
        self._outputs += other._outputs
        self._targets += other._targets

    def value(self) -> float:
        """The metric of all batches together.

        Raises:
            DataError: the batches cannot be joined, or the metric fails on them.
        """
        try:
            outputs, targets = collected(self._outputs), torch.cat(self._targets)
        except (ValueError, RuntimeError) as error:
            raise DataError(
                f"the metric '{self._name}' is one of the whole split, whose batches cannot be joined ({_line(error)}); "
                "let it return one value per sample, or mark it by metric_is_mean=True"
            ) from error
        try:
            found = self._metric(outputs, targets)
        except DataError:
            raise
        except Exception as error:  # the metric is the user's
            raise DataError(
                f"the metric '{self._name}' fails on {len(targets)} samples: {type(error).__name__}: {_line(error)}; correct it"
            ) from error
        values = per_sample_values(found, len(targets))
        if values is not None:
            return float(values.double().mean())
        return _number(self._name, found, len(targets))


class UserMeter:
    """A metric of which only its first value tells whether it is one per sample, to be averaged, or one of the whole split.

    Args:
        metric: `(outputs, targets)` → `[N]` or a number.
        name: of the metric, for messages.
    """

    def __init__(self, metric: Callable[[Any, Tensor], Any], name: str) -> None:
        self._metric, self._name = metric, name
        self._meter: SampleMeter | SplitMeter | None = None

    def add(self, outputs: Any, targets: Tensor) -> None:
        """Read one batch."""
        if self._meter is None:
            kind = SampleMeter if self._gives_samples(outputs, targets) else SplitMeter
            self._meter = kind(self._metric, self._name)
        self._meter.add(outputs, targets)

    def join(self, other: UserMeter) -> None:
        """Read what the other has read.

        Raises:
            DataError: one value of the metric was a number, another one per sample.
        """
        if other._meter is None:
            return
        if self._meter is None:
            self._meter = type(other._meter)(self._metric, self._name)
        if type(self._meter) is not type(other._meter):
            raise DataError(f"the metric '{self._name}' gives one number here and one for each sample there; let it always return the same")
        self._meter.join(other._meter)  # type: ignore[arg-type]

    def value(self) -> float:
        """The metric."""
        if self._meter is None:
            raise DataError("there is no batch to compute a metric of; give the split at least one sample")
        return self._meter.value()

    def _gives_samples(self, outputs: Any, targets: Tensor) -> bool:
        try:
            return per_sample_values(self._metric(outputs, targets), len(targets)) is not None
        except Exception:  # a part of the split may lack what the whole has, such as both classes; the whole raises it again
            return False


class ConfusionMeter:
    """Counts of (true class, predicted class), from which a number is computed at the end; it needs no memory for outputs.

    Args:
        predict: outputs → (predicted classes `[N, …]`, number of classes).
        ignore_index: true class of positions that do not count.
        finish: counts float64 `[K, K]`, true classes in rows → the metric.
    """

    def __init__(self, predict: Callable[[Any], tuple[Tensor, int]], ignore_index: int, finish: Callable[[Tensor], float]) -> None:
        self._predict, self._ignore, self._finish = predict, ignore_index, finish
        self._counts: Tensor | None = None

    def add(self, outputs: Any, targets: Tensor) -> None:
        """Count a batch."""
        predicted, classes = self._predict(outputs)
        true = targets.reshape(predicted.shape)
        known = true != self._ignore
        cells = true[known].long() * classes + predicted[known]
        found = torch.bincount(cells, minlength=classes * classes).reshape(classes, classes).cpu()
        self._counts = found if self._counts is None else self._counts + found

    def join(self, other: ConfusionMeter) -> None:
        """Add the other's counts."""
        if other._counts is not None:
            self._counts = other._counts if self._counts is None else self._counts + other._counts

    def value(self) -> float:
        """The metric of the counts."""
        if self._counts is None:
            raise DataError("there is no batch to compute a metric of; give the split at least one sample")
        return self._finish(self._counts.double())


def per_sample_values(found: Any, samples: int) -> Tensor | None:
    """A metric's value as `[N]`, if it is one number for each of N samples; else None."""
    if isinstance(found, np.ndarray):
        found = torch.from_numpy(found)
    return found.reshape(-1) if isinstance(found, Tensor) and found.dim() and found.numel() == samples else None


def _number(name: str, found: Any, samples: int) -> float:
    values = found.detach().cpu().numpy() if isinstance(found, Tensor) else np.asarray(found)
    if values.size != 1 or values.dtype.kind not in "biuf":
        given = list(values.shape) if values.dtype.kind in "biuf" else f"a {type(found).__name__}"
        raise DataError(f"the metric '{name}' gives {given} for {samples} samples; let it return one number, or one for each sample")
    return float(values.reshape(()))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
