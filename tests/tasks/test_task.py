from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import matthews_corrcoef, r2_score
from torch import Tensor

from mpsearch.core.errors import ConfigError
from mpsearch.tasks.task import Task
from mpsearch.training.recipe import Recipe


def test_kl_divergence_by_hand() -> None:
    p, q = torch.tensor([[math.log(0.75), math.log(0.25)]]), torch.tensor([[0.0, 0.0]])
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert Task.classification().divergence(p, q).tolist() == pytest.approx([expected])
    assert Task.classification().divergence(p, p).tolist() == pytest.approx([0.0])


def test_gaussian_divergence_is_half_the_squared_distance() -> None:
    assert Task.regression().divergence(torch.zeros(2, 3), torch.ones(2, 3)).tolist() == [1.5, 1.5]


def test_sampled_labels_follow_the_model() -> None:
    outputs = torch.tensor([[math.log(0.9), math.log(0.1)]]).expand(4000, 2)
    drawn = Task.classification().sample(outputs, torch.Generator().manual_seed(0))
    assert float(drawn.float().mean()) == pytest.approx(0.1, abs=0.02)


def test_metric_and_error() -> None:
    task = Task.classification()
    assert values(task, torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1])) == [1.0, 0.0]
    assert task.error(0.75) == 0.25
    assert Task.regression().error(0.4) == 0.4
    higher = Task.custom(
        loss=torch.nn.functional.mse_loss,
        metric=lambda o, t: -(o - t).abs().flatten(1).mean(1),
        metric_name="negative MAE",
        higher_is_better=True,
    )
    assert higher.error(-2.0) == 2.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", -1),
        ("batch_size", 0),
        ("lr", 0.0),
        ("momentum", 1.0),
        ("distill", 1.5),
        ("temperature", 0.0),
        ("warmup", 1.0),
        ("reestimate", -1),
    ],
)
def test_recipe_refuses_what_cannot_train(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"recipe.{name} must be") as caught:
        Recipe(**{name: value})  # type: ignore[arg-type]
    assert caught.value.path == f"recipe.{name}"


def test_regression_targets_may_lack_the_axis_of_one() -> None:
    """`[N]` against `[N, 1]` would broadcast to N × N and train towards the mean."""
    outputs, targets = torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 4.0])
    task = Task.regression()
    assert float(task.loss(outputs, targets)) == 2.0
    assert values(task, outputs, targets) == [0.0, 4.0]


def test_class_labels_of_any_whole_type() -> None:
    outputs, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    task = Task.classification()
    assert task.loss(outputs, labels.int()) == task.loss(outputs, labels)


def test_one_logit_tells_two_classes_apart() -> None:
    task, labels = Task.classification(), torch.tensor([0, 1, 1])
    logits = torch.tensor([-1.0, 2.0, -0.5])
    wanted = F.binary_cross_entropy_with_logits(logits, labels.float())
    for outputs in (logits, logits[:, None]):
        for targets in (labels, labels.float(), labels[:, None]):
            assert task.loss(outputs, targets) == wanted
            assert values(task, outputs, targets) == [1.0, 1.0, 0.0]


def test_mean_intersection_over_union_by_hand() -> None:
    """Class 2 neither occurs nor is predicted; the ignored place would be wrong."""
    found = torch.tensor([[[0, 0, 1]], [[1, 1, 0]]])
    true = torch.tensor([[[0, 1, 1]], [[1, 255, 0]]])
    outputs = F.one_hot(found, 3).movedim(-1, 1).float()
    for metric, expected in (("mIoU", (2 / 3 + 2 / 3) / 2), ("pixel accuracy", 4 / 5)):
        meter = Task.segmentation(metric=metric).meter()  # type: ignore[arg-type]
        for row in range(2):
            meter.add(outputs[row : row + 1], true[row : row + 1])
        assert meter.value() == pytest.approx(expected)


def test_the_loss_of_segments_is_the_mean_over_known_places_and_none_where_there_are_none() -> None:
    outputs, true = torch.randn(2, 3, 1, 3), torch.tensor([[[0, 255, 1]], [[255, 255, 255]]])
    expected = F.cross_entropy(outputs[:1], true[:1], ignore_index=255)
    assert float(Task.segmentation().loss(outputs, true)) == pytest.approx(float(expected) / 2)
    assert float(Task.segmentation().loss(outputs[1:], true[1:])) == 0.0


def test_a_metric_that_is_marked_as_a_mean_is_averaged_over_batches() -> None:
    def f1(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.amax() * len(targets)

    marked, whole = (Task.custom(loss=f1, metric=f1, metric_is_mean=mean).meter() for mean in (True, False))
    for meter in (marked, whole):
        meter.add(torch.tensor([1.0]), torch.zeros(1))
        meter.add(torch.tensor([2.0, 5.0, 3.0]), torch.zeros(3))
    assert (marked.value(), whole.value()) == ((1 * 1 + 3 * 15) / 4, 20.0)


def test_the_loss_as_metric_is_a_mean() -> None:
    task = Task.custom(loss=F.mse_loss)
    assert (task.metric_name, task.error(2.0)) == ("loss", 2.0)
    assert task.per_sample(torch.zeros(3, 1), torch.ones(3, 1)) is None
    meter = task.meter()
    meter.add(torch.zeros(3, 1), torch.ones(3, 1))
    assert meter.value() == 1.0


def test_what_a_custom_task_is_told() -> None:
    task = Task.custom(loss=F.mse_loss, metric=r2_score)
    assert (task.metric_name, task.error(0.75)) == ("r2_score", -0.75)
    assert Task.custom(loss=F.mse_loss, metric=r2_score, higher_is_better=False).error(0.75) == 0.75
    assert Task.custom(loss=F.mse_loss, metric=r2_score, metric_name="R²").metric_name == "R²"
    with pytest.raises(ConfigError, match="pass higher_is_better=True or False"):
        Task.custom(loss=F.mse_loss, metric=matthews_corrcoef)
    with pytest.raises(ConfigError, match="metric must be a function of"):
        Task.custom(loss=F.mse_loss, metric="f1")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="the metric must be one of mIoU, pixel accuracy, not 'dice'"):
        Task.segmentation(metric="dice")  # type: ignore[arg-type]


def test_one_output_of_several_by_name() -> None:
    outputs = {"a": torch.zeros(2, 3), "b": torch.tensor([[1.0, 0.0], [0.0, 1.0]])}
    task = Task.classification(output="b")
    assert values(task, outputs, torch.tensor([0, 0])) == [1.0, 0.0]
    assert task.divergence({**outputs, "a": torch.ones(2, 3)}, outputs).tolist() == [0.0, 0.0]
    custom = Task.custom(loss=lambda o, t: o.mean(), metric=lambda o, t: o[:, 0], output="b")
    assert float(custom.loss(outputs, torch.zeros(2))) == 0.5
    assert values(custom, outputs, torch.zeros(2)) == [1.0, 0.0]


def values(task: Task, outputs: Any, targets: Tensor) -> list[float]:
    found = task.per_sample(outputs, targets)
    assert found is not None
    return list(found.tolist())
