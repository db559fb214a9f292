"""`Case`: a network as its package ships it, data that it was made for, and what is measured on them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from mpsearch.tasks.task import Task

__all__ = ["Case", "Gap", "Rival", "Samples", "compare", "load_package", "outputs_of"]

Gap = Literal["share", "error", "distance"]
"""What a metric is: a share that is right, an error of which zero is best, or a distance from the float network, which has none."""


class Samples(Dataset[tuple[Any, Tensor]]):
    """Pairs of (input, target); of a network with several arguments the input is a tuple.

    Args:
        inputs: `[N, …]` each.
        targets: `[N, …]`.
    """

    def __init__(self, inputs: Sequence[Tensor], targets: Tensor) -> None:
        self.inputs = tuple(inputs)
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, place: int) -> tuple[Any, Tensor]:
        given = tuple(tensor[place] for tensor in self.inputs)
        return given if len(given) > 1 else given[0], self.targets[place]


@dataclass(frozen=True, kw_only=True)
class Rival:
    """Somebody else's small version of the same network.

    Args:
        name: of the version.
        model: the same inputs and outputs.
        bytes: of its file.
    """

    name: str
    model: nn.Module
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a row of the table is measured on.

    Args:
        model: trained, in evaluation mode.
        train: samples for calibration and training.
        validation: samples that trials are compared by.
        test: samples that the table is about.
        task: loss and metric.
        gap: kind of the metric.
        epochs: of a short training; 0 if the data allow none.
        lr: rate of it.
        images: training samples for signals and ranges.
        trials: allocations that are measured.
        batch_size: of the training.
        signals: that the search begins with.
        methods: that trials choose among.
        rivals: other small versions.
    """

    model: nn.Module
    train: Samples
    validation: Samples
    test: Samples
    task: Task
    gap: Gap
    epochs: int
    lr: float = 1e-4
    images: int = 128
    trials: int = 8
    batch_size: int = 32
    signals: Sequence[str] = ("fisher", "measured")
    methods: Sequence[str] = ("lsq", "gptq")
    rivals: Sequence[Rival] = ()


def load_package(name: str) -> Any:
    """The module of that name.

    Raises:
        SystemExit: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise SystemExit(f"'{error.name}' is not installed; see the two lines of `python -m benchmarks.zoo --help`") from error


def outputs_of(model: nn.Module, inputs: Sequence[Tensor], batch: int = 32) -> Tensor:
    """Outputs for all samples, in order; of a network whose output is one tensor."""
    with torch.no_grad():
        return torch.cat([model(*parts) for parts in zip(*(torch.split(tensor, batch) for tensor in inputs), strict=True)])


def compare(case: Case, rival: Rival) -> float:
    """The metric of another version on the test split."""
    meter = case.task.meter()
    meter.add(outputs_of(rival.model, case.test.inputs), case.test.targets)
    return meter.value()
