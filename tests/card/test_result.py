"""The result is of the test split, read whole; the worst class is of the validation split."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import mpsearch
from mpsearch.card.inputs import CardInputs
from mpsearch.card.result import result as section
from mpsearch.card.schema import Card
from mpsearch.core.pass_counts import Count, PassCounts


class Always(nn.Module):
    """Answers class 2, whatever it sees."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([0.0, 0.0, 1.0]).expand(len(x), 3)


def test_of_a_run(result: mpsearch.Result, card: Card) -> None:
    test = result.summary.test
    assert (card.result.metric, card.result.split) == ("accuracy", "test")
    assert card.result.mean == test["winner"].metric
    assert card.result.by_seed == {str(result.summary.seed): test["winner"].metric}
    assert card.result.delta_to_float == pytest.approx(test["winner"].metric - test["float"].metric)
    assert card.result.std == "n/a: one seed"
    assert card.result.full_split is True
    assert card.result.worst_class["metric"] <= result.summary.winner.score.metric
    assert card.identity.repeats == 1


def test_the_worst_class_is_the_one_that_is_never_answered(images: CardInputs, result: mpsearch.Result) -> None:
    found = section(images, result.summary, Always(), PassCounts()).worst_class
    targets = torch.cat([targets for _, targets in images.problem.validation.batches(256)])
    assert found["class"] in (0, 1)
    assert found["metric"] == 0.0
    assert found["samples"] == int((targets == found["class"]).sum())
    named = replace(images, splits=replace(images.splits, classes=("cat", "dog", "owl")))
    assert section(named, result.summary, Always(), PassCounts()).worst_class["class"] in ("cat", "dog")


def test_a_split_that_was_not_read_whole_is_said(images: CardInputs, result: mpsearch.Result) -> None:
    assert images.splits.test is not None
    reads = len(images.splits.test) * len(result.summary.test)
    for scored, whole in ((reads - 1, False), (reads, True)):
        assert section(images, result.summary, Always(), PassCounts({"test": vars(Count(scored=scored))})).full_split is whole


def test_without_a_test_split(images: CardInputs, result: mpsearch.Result) -> None:
    winner, untested = result.summary.winner, replace(images, splits=replace(images.splits, test=None))
    validated = section(untested, replace(result.summary, test={}), Always(), PassCounts())
    assert (validated.split, validated.mean, validated.full_split) == ("validation", winner.score.metric, "n/a: no test split")
