"""Passes are counted where they happen: against the lengths of the loaders, and with labels that must not be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mpsearch
from mpsearch.card.schema import Card
from mpsearch.core.pass_counts import Count, PassCounts
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.tasks.task import Task
from mpsearch.training.loop import train
from tests.card.runs import EPOCHS, IMAGES, RECIPE, TEST, TRAIN, VALIDATION, card_of, mlp, searched, vectors


def test_passes_are_the_loaders_lengths(result: mpsearch.Result, card: Card) -> None:
    passes = {name: Count(**numbers) for name, numbers in card.resources.passes.items()}
    assert passes["signals"].backward == IMAGES
    assert passes["calibration"] == Count(forward=IMAGES)
    assert result.summary.batchnorm is not None
    settling = {"kept": 0, "re-estimated": 96}[result.summary.batchnorm.chosen]  # samples for BatchNorm, before it is scored
    assert passes["study"] == Count(forward=2 * (settling + VALIDATION), scored=2 * VALIDATION)
    retrained = passes["retraining"]
    assert retrained.backward == retrained.labels == EPOCHS * TRAIN
    scored = (1 + EPOCHS + 1 + 2) * VALIDATION  # calibrated, each epoch, baked; compared with uniform bits
    assert retrained.scored == scored
    assert retrained.forward == 2 * EPOCHS * TRAIN + settling + 96 + scored  # student and teacher; BatchNorm after calibration, at the end
    assert passes["test"] == Count(forward=len(result.summary.test) * TEST, scored=len(result.summary.test) * TEST)
    assert passes["references"].backward >= EPOCHS * TRAIN


def test_what_a_cpu_run_can_tell(result: mpsearch.Result, card: Card) -> None:
    assert card.resources.tier == "P4"
    assert card.resources.gpu_hours == "n/a: no GPU"
    threads = torch.get_num_threads()
    assert card.resources.device.endswith(f"CPU, {threads} thread" + ("s" if threads > 1 else ""))
    assert card.resources.epochs["retraining"] == EPOCHS
    assert set(card.resources.seconds) <= set(result.summary.seconds)
    assert card.resources.peak_memory_bytes > 50_000_000  # torch alone is larger


def test_distillation_alone_needs_no_label(tmp_path: Path) -> None:
    card = card_of(searched(tmp_path, recipe=replace(RECIPE, distill=1.0), space="weights-only", test=None))
    assert card.resources.passes["retraining"]["labels"] == 0
    assert card.resources.passes["retraining"]["backward"] == EPOCHS * TRAIN
    assert card.resources.tier == "P2"
    assert not any(card.data.use[use]["labels"] for use in ("calibration", "search", "fine-tune"))
    assert card.data.use["selection"]["labels"]
    assert card.data.overlap_with_test == "n/a: no test split"
    assert card.result.split == "validation"
    assert card.ranges.images == card.data.use["calibration"]["images"] == 0
    assert card.formats.activations == "n/a: activations are float32"


class Poisoned(Tensor):
    """Labels that may travel but not be read."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not Tensor.to:
            raise AssertionError(f"a label was read by {func}")
        return super().__torch_function__(func, types, args, kwargs or {})


class Unread(TensorSplit):
    def batches(self, *args: Any, **kwargs: Any) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in super().batches(*args, **kwargs):
            yield x, y.as_subclass(Poisoned)


@pytest.mark.parametrize("distill", [1.0, 0.5])
def test_pure_distillation_reads_no_label_and_everything_else_is_counted(distill: float) -> None:
    torch.manual_seed(0)
    model, counts, recipe = mlp(), PassCounts(), replace(RECIPE, distill=distill, epochs=3, augment=False)
    x, y = vectors()
    split = (Unread if distill == 1 else TensorSplit)(x[:100], y[:100])
    with counts.listening("retraining"):
        train(model, [], split, Task.classification(), recipe, device=torch.device("cpu"), seed=0, teacher=mlp().eval())
    labels = 0 if distill == 1 else 300
    assert counts.counts == {"retraining": Count(forward=2 * 300 + 96, backward=300, labels=labels)}


def test_the_poison_works() -> None:
    x, y = vectors()
    with pytest.raises(AssertionError, match="a label was read"):
        train(mlp(), [], Unread(x, y), Task.classification(), replace(RECIPE, epochs=1), device=torch.device("cpu"), seed=0)
