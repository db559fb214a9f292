from __future__ import annotations

import math

import pytest
import torch

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
    assert task.per_sample(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1])).tolist() == [1.0, 0.0]
    assert task.error(0.75) == 0.25
    assert Task.regression().error(0.4) == 0.4
    higher = Task.custom(
        loss=torch.nn.functional.mse_loss,
        metric=lambda o, t: -(o - t).abs().flatten(1).mean(1),
        metric_name="negative MAE",
        higher_is_better=True,
    )
    assert higher.error(-2.0) == 2.0


def test_metric_of_a_whole_batch_counts_for_each_sample() -> None:
    task = Task.custom(loss=torch.nn.functional.mse_loss)
    assert task.per_sample(torch.zeros(3, 1), torch.ones(3, 1)).tolist() == [1.0, 1.0, 1.0]


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
    assert task.per_sample(outputs, targets).tolist() == [0.0, 4.0]


def test_class_labels_of_any_whole_type() -> None:
    outputs, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    task = Task.classification()
    assert task.loss(outputs, labels.int()) == task.loss(outputs, labels)
