"""`evaluate_artifact`: the score of an artifact on disk."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from mpsearch.core.errors import ArtifactError
from mpsearch.core.record import Score
from mpsearch.data import load_data
from mpsearch.models import build_model, is_registered
from mpsearch.models.described import build_described
from mpsearch.network.execution import samples_within
from mpsearch.network.inputs import call, to_device
from mpsearch.run.setup import pick_device
from mpsearch.targets import read_artifact
from mpsearch.tasks.outputs import float_tensors
from mpsearch.training.evaluate import evaluate

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig
    from mpsearch.data.split import Split

__all__ = ["check_numbers", "evaluate_artifact"]


def evaluate_artifact(path: Path, config: StudyConfig, split: str) -> Score:
    """Score a file on a split of the study's data, as the runtime of its target executes it.

    Args:
        path: the artifact.
        config: names the data, and the model if the artifact's model is not registered.
        split: `train`, `validation` or `test`.

    Raises:
        ArtifactError: the file cannot be read or does not fit the model, or the data have no such split.
    """
    artifact = read_artifact(path)
    device = pick_device(config.device)
    running = artifact.executed()
    if running is None:
        # Only a registered name is taken from the file; any other factory must come from the study, for security.
        if is_registered(artifact.model):
            model = build_described(artifact.model, artifact.options, artifact.bits)
        else:
            model = build_model(config.model.factory, config.model.options)
        running = artifact.install(model.to(device))
    else:
        device = torch.device("cpu")
    splits = load_data(config.data.reference, seed=config.seed, **config.data.options)
    data = getattr(splits, split)
    if data is None:
        raise ArtifactError(f"the data '{splits.name}' have no {split} split; ask for --split validation")
    score = evaluate(running, data, splits.task, device=device, batch=_batch(running, data, device))
    check_numbers(path, score.loss)
    return score


@torch.no_grad()
def _batch(model: nn.Module, data: Split, device: torch.device) -> int:
    """Samples that pass at once: as many as leave room for their outputs, of which a batch of two tells the size."""
    first, targets = next(iter(data.batches(2)))
    outputs = call(model, to_device(first, device))
    return samples_within(sum(each.numel() for each in float_tensors(outputs)) // len(targets))


def check_numbers(path: Path, value: float) -> None:
    """Refuse a file whose network answers with NaN or infinity.

    Args:
        path: the artifact.
        value: loss or sum of its answers.

    Raises:
        ArtifactError: it is no number.
    """
    if not math.isfinite(value):
        raise ArtifactError(f"{path} answers with what is no number; it was forged or damaged: get it again")
