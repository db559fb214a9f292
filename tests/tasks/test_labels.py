from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mpsearch.core.errors import DataError, ModelError
from mpsearch.tasks.labels import check_class_scores, check_multi_label, check_segments, check_targets


def test_labels_outside_the_classes() -> None:
    good = torch.tensor([0, 2, 1])
    assert check_targets(good, 3) is good
    with pytest.raises(DataError, match=r"label 3 at position 1 is outside the 3 classes 0 to 2; correct the labels"):
        check_targets(torch.tensor([0, 3]), 3)
    with pytest.raises(DataError, match="label -1 at position 0"):
        check_targets(torch.tensor([-1, 0]), 3)
    with pytest.raises(DataError, match=r"must be whole numbers, these are torch.float32"):
        check_targets(torch.tensor([0.5]), 3)


@pytest.mark.parametrize("dtype", [torch.bool, torch.float64, torch.complex64])
def test_labels_of_another_kind(dtype: torch.dtype) -> None:
    with pytest.raises(DataError, match=f"must be whole numbers, these are {dtype}"):
        check_targets(torch.zeros(2, dtype=dtype), 3)


def test_the_position_of_a_wrong_label_in_rows_of_labels() -> None:
    with pytest.raises(DataError, match="label 9 at position 1"):
        check_targets(torch.tensor([[0, 1], [1, 9]]), 3)


def test_an_ignored_label_is_no_class() -> None:
    targets = torch.tensor([0, 255, 1])
    assert check_targets(targets, 2, ignore_index=255) is targets
    with pytest.raises(DataError, match="label 255 at position 1"):
        check_targets(targets, 2)


@pytest.mark.parametrize("targets", [torch.tensor([0, 1]), torch.tensor([0.0, 1.0]), torch.tensor([True, False]), torch.tensor([[0], [1]])])
@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_one_logit_takes_zeros_and_ones_of_any_type(shape: tuple[int, ...], targets: Tensor) -> None:
    check_class_scores(torch.zeros(shape), targets)


@pytest.mark.parametrize(
    ("scores", "targets", "words"),
    [
        ((5, 1), torch.tensor([0, 2]), r"one logit tells the labels 0 and 1 apart, but there is a label 2; .*Task.regression"),
        ((5, 1), torch.tensor([0.3]), "there is a label 0.3; .*Task.regression"),
        ((5, 3), torch.tensor([[0], [1]]), r"these are \[2, 1\]; squeeze them to \[2\]"),
        ((5, 3), torch.zeros(2, 3, dtype=torch.long), r"one number per sample, these are \[2, 3\]; .*Task.multi_label"),
    ],
)
def test_labels_that_do_not_fit_the_scores(scores: tuple[int, ...], targets: Tensor, words: str) -> None:
    with pytest.raises(DataError, match=words):
        check_class_scores(torch.zeros(scores), targets)


def test_multi_label_targets() -> None:
    check_multi_label(torch.zeros(5, 3), torch.tensor([[0, 1, 1]]))
    with pytest.raises(DataError, match="there is 2"):
        check_multi_label(torch.zeros(5, 3), torch.tensor([[0, 1, 2]]))
    with pytest.raises(DataError, match=r"each of the 3 outputs, targets are \[2\]"):
        check_multi_label(torch.zeros(5, 3), torch.tensor([0, 1]))
    with pytest.raises(ModelError, match=r"needs outputs \[samples, labels\], the model gives \[5\]"):
        check_multi_label(torch.zeros(5), torch.tensor([0, 1]))


def test_segments() -> None:
    places = torch.tensor([[[0, 255], [1, 1]]])
    check_segments(torch.zeros(5, 3, 2, 2), places, 255)
    check_segments(torch.zeros(5, 1, 2, 2), places.unsqueeze(1), 255)
    with pytest.raises(DataError, match="label 255"):
        check_segments(torch.zeros(5, 3, 2, 2), places, -1)
    with pytest.raises(DataError, match=r"\[4, 4\] in the outputs, targets are \[1, 2, 2\]; let the model resize"):
        check_segments(torch.zeros(5, 3, 4, 4), places, 255)
    with pytest.raises(ModelError, match=r"needs outputs \[samples, classes, …\]"):
        check_segments(torch.zeros(5, 3), places, 255)
