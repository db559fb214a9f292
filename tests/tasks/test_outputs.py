from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from mpsearch.core.errors import ModelError
from mpsearch.tasks.outputs import (
    all_finite,
    collected,
    counted_parts,
    described,
    float_tensors,
    floats_mapped,
    most_samples_differ_by,
    prediction_of,
    same_values,
)

SCORES, FEATURES, PLACES = torch.arange(6.0).reshape(2, 3), torch.ones(2, 5), torch.tensor([4, 1])
Named = namedtuple("Named", ["features", "logits"])


@dataclass
class Output:
    loss: Tensor | None
    places: Tensor
    scores: Tensor


@pytest.mark.parametrize(
    ("outputs", "output"),
    [
        (SCORES, None),
        ((SCORES, FEATURES), None),
        ([PLACES, SCORES], None),
        ((None, (SCORES,)), None),
        ({"features": FEATURES, "logits": SCORES}, None),
        (OrderedDict(out=SCORES, aux=FEATURES), None),
        (Named(FEATURES, SCORES), None),
        (Output(None, PLACES, SCORES), None),
        ((FEATURES, SCORES), 1),
        ({"a": FEATURES, "b": (SCORES, FEATURES)}, "b"),
        (Output(None, PLACES, SCORES), "scores"),
        (Named(SCORES, FEATURES), "features"),
    ],
)
def test_the_prediction(outputs: Any, output: str | int | None) -> None:
    assert prediction_of(outputs, output) is SCORES


@pytest.mark.parametrize(
    ("outputs", "output", "words"),
    [
        ((SCORES, FEATURES), 2, "scores output 2, but the model returns entries 0, 1; name one of these"),
        ({"a": SCORES}, "logits", "the model returns entries 'a'"),
        (SCORES, "logits", "the model returns a single tensor"),
        ((PLACES,), None, r"no floating-point tensor to score \(0 \[2\]\)"),
    ],
)
def test_there_is_no_such_prediction(outputs: Any, output: str | int | None, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        prediction_of(outputs, output)


def test_every_float_tensor_counts_unless_the_prediction_is_told() -> None:
    assert counted_parts((PLACES, FEATURES, [SCORES]), None) == [FEATURES, SCORES]
    assert counted_parts((FEATURES, SCORES), 1) == [SCORES]
    assert counted_parts({"features": FEATURES, "logits": SCORES}, None) == [SCORES]
    assert float_tensors((torch.tensor(1.0), SCORES)) == [SCORES], "a number has no sample axis"


def test_batches_become_one() -> None:
    first, second = ((SCORES, {"n": PLACES}, None), (SCORES + 1, {"n": PLACES}, None))
    scores, places, nothing = collected([first, second])
    assert torch.equal(scores, torch.cat([SCORES, SCORES + 1]))
    assert places["n"].tolist() == [4, 1, 4, 1]
    assert nothing is None
    assert collected([torch.tensor(1.0), torch.tensor(2.0)]).tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match=r"shapes \[3\] and \[5\] of a sample"):
        collected([SCORES, FEATURES])


def test_values_of_all_tensors_count() -> None:
    assert same_values((SCORES, {"n": PLACES}, "a"), (SCORES.clone(), {"n": PLACES.clone()}, "b"))
    assert not same_values((SCORES, PLACES), (SCORES, PLACES + 1))
    assert not same_values((SCORES, PLACES), (SCORES,))
    assert all_finite((SCORES, PLACES, None))
    assert not all_finite((SCORES, {"x": torch.tensor([float("nan")])}))


def test_only_floats_change() -> None:
    halved, places, nothing = floats_mapped((SCORES, PLACES, None), lambda tensor: tensor / 2)
    assert torch.equal(halved, SCORES / 2)
    assert places is PLACES
    assert nothing is None


def test_a_description_names_the_entries() -> None:
    assert described({"logits": SCORES, "more": (PLACES,)}) == "logits [2, 3], more 0 [2]"


def test_difference_of_most_samples_is_relative_and_takes_no_notice_of_a_few() -> None:
    scored = {"logits": torch.tensor([[1.0, -4.0], [2.0, 0.0], [3.0, 1.0]]), "more": torch.zeros(3)}
    moved = {"logits": scored["logits"] + torch.tensor([[0.0, 0.04], [-0.02, 0.0], [2.0, 0.0]]), "more": torch.zeros(3)}
    assert most_samples_differ_by(moved, scored) == pytest.approx(0.01)
    assert most_samples_differ_by(scored, scored) == 0
    assert most_samples_differ_by(scored["logits"], scored) == float("inf")
