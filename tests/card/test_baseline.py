"""The float network as the card describes it."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, replace
from functools import partial

import torch

import mpsearch
from mpsearch.card.baseline import baseline
from mpsearch.card.inputs import CardInputs
from mpsearch.card.schema import Card
from tests.card.runs import TEST, TRAIN, VALIDATION


@dataclass(frozen=True)
class Crop:
    padding: int


def test_of_a_run(result: mpsearch.Result, card: Card) -> None:
    assert card.model.macs == 6 * 32 + 32 * 32 + 32 * 2
    assert card.model.parameters == 6 * 32 + 32 + 32 * 32 + 32 + 2 * 32 + 32 * 2 + 2
    assert card.model.batchnorm_folded == "1 of 1"
    assert card.model.edits == "1 BatchNorm1d to Identity"
    assert card.model.checkpoint == "as handed in"
    assert card.model.float_dtype == "float32"
    assert card.model.split_sizes == {"train": TRAIN, "validation": VALIDATION, "test": TEST}
    assert card.model.float_metric["test"] == result.summary.test["float"].metric


def test_the_checkpoint_is_known_by_its_numbers(images: CardInputs, result: mpsearch.Result) -> None:
    digest = baseline(images, result.summary, "none").checkpoint_sha256
    again = baseline(images, result.summary, "none").checkpoint_sha256
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert again == digest
    other = copy.deepcopy(images.problem.model)
    with torch.no_grad():
        other.get_parameter("head.bias")[0] += 1
    moved = baseline(replace(images, problem=replace(images.problem, model=other)), result.summary, "none").checkpoint_sha256
    assert moved != digest


def test_preprocessing_reads_without_addresses(images: CardInputs, result: mpsearch.Result) -> None:
    split = copy.copy(images.splits.train)
    inputs = replace(images, splits=replace(images.splits, train=split))
    described = []
    for transform in (Crop(4), torch.nn.functional.relu, partial(torch.nn.functional.relu, inplace=True), torch.nn.ReLU(), None):
        split.transform = transform  # type: ignore[attr-defined]
        described.append(baseline(inputs, result.summary, "none").preprocessing["transform"])
    assert described == ["Crop(padding=4)", "relu", "partial", "ReLU", "none"]
