"""A network that answers no better than one answer for all is doubted; a trained one is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from mpsearch.data.base import as_split
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.run.guessing import guessing
from mpsearch.tasks.task import Task
from tests.problems import small_problem
from tests.run.tiny import tiny_setup, tiny_study


class Constant(nn.Module):
    """The same answer for every sample."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = nn.Parameter(answer)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, …]` → `[N, K]`."""
        return self.answer.expand(len(x), -1)


def test_a_study_of_untrained_weights_says_so_in_setup() -> None:
    setup = tiny_setup(tiny_study())
    doubt = next(note for note in setup.notes if "is it trained?" in note)
    assert doubt.startswith("The float network has accuracy 0.")
    assert "--weights FILE" in doubt


def test_a_trained_network_is_not_doubted() -> None:
    assert guessing(small_problem(epochs=4)) == ()


def test_regression_is_doubted_by_the_variance_of_its_targets() -> None:
    y = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    problem = replace(small_problem(), task=Task.regression(), validation=as_split(TensorDataset(torch.zeros(64, 3), y)))
    worse = guessing(replace(problem, model=Constant(y.mean(0) + 0.1)))
    assert len(worse) == 1
    assert f"{float(y.var(dim=0, correction=0).mean()):.4g}" in worse[0]
    line = nn.Linear(3, 2)
    exact = as_split(TensorDataset(x := torch.randn(64, 3), line(x).detach()))
    assert guessing(replace(problem, model=line, validation=exact)) == ()


def test_targets_of_different_lengths_are_not_judged() -> None:
    class Padded(TensorSplit):
        """Each batch as long as its number says."""

        def batches(
            self, batch_size: int, *, shuffle: bool = False, seed: int = 0, augment: bool = False, drop_last: bool = False
        ) -> Iterator[Any]:
            for length, (x, y) in enumerate(super().batches(batch_size), start=1):
                yield x, y.float().unsqueeze(1).expand(-1, length)

    problem = small_problem()
    padded = Padded(torch.zeros(600, 6), torch.zeros(600, dtype=torch.long))
    assert guessing(replace(problem, task=Task.regression(), validation=padded.take(512, 0))) == ()


def test_a_task_without_a_known_guess_is_not_judged() -> None:
    problem = small_problem()
    assert guessing(replace(problem, task=Task.custom(loss=nn.functional.cross_entropy), model=Constant(torch.zeros(3)))) == ()
