"""The one loop: it learns, is reproducible, resumes exactly, and says so when the loss explodes."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from mpsearch.core.errors import TrainingDiverged
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.tasks.task import Task
from mpsearch.training.checkpoint import Checkpoint
from mpsearch.training.evaluate import evaluate
from mpsearch.training.loop import Hooks, reestimate_batchnorm, train
from mpsearch.training.recipe import Recipe

CPU = torch.device("cpu")
TASK = Task.classification()
RECIPE = Recipe(epochs=3, batch_size=32, lr=0.1, precision="float32", reestimate=64)


def data() -> TensorSplit:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 5, generator=generator)
    return TensorSplit(x, (x[:, 0] > x[:, 1]).long())


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 2))


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_it_learns_and_reports_a_curve() -> None:
    model = network()
    before = evaluate(model, data(), TASK, device=CPU)
    curve = train(model, [], data(), TASK, RECIPE, device=CPU, seed=0, hooks=Hooks(on_epoch=lambda epoch: {"extra": epoch * 2.0}))
    after = evaluate(model, data(), TASK, device=CPU)
    assert after.metric > max(before.metric, 0.9)
    assert after.error == pytest.approx(1 - after.metric)
    assert [point["epoch"] for point in curve] == [1, 2, 3]
    assert [point["extra"] for point in curve] == [2.0, 4.0, 6.0]
    assert curve[-1]["loss"] < curve[0]["loss"]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_same_seed_same_network(optimizer: str) -> None:
    recipe = Recipe(epochs=2, batch_size=32, lr=0.01, optimizer=optimizer, warmup=0.2)  # type: ignore[arg-type]
    results = []
    for seed in (0, 0, 1):
        model = network()
        train(model, [], data(), TASK, recipe, device=CPU, seed=seed)
        results.append(state(model))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])
    assert any(not torch.equal(results[0][name], results[2][name]) for name in results[0])


@pytest.mark.parametrize("stop_at", [3, 7, 12])
def test_killed_training_goes_on_as_if_nothing_happened(stop_at: int, tmp_path: Path) -> None:
    whole = network()
    curve = train(whole, [], data(), TASK, RECIPE, device=CPU, seed=0)

    def stop(done: int, total: int) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    checkpoint = Checkpoint(tmp_path / "x.checkpoint", every=0.0)
    killed = network()
    with pytest.raises(KeyboardInterrupt):
        train(killed, [], data(), TASK, RECIPE, device=CPU, seed=0, hooks=Hooks(on_step=stop), checkpoint=checkpoint)
    resumed = network()
    again = train(resumed, [], data(), TASK, RECIPE, device=CPU, seed=0, checkpoint=checkpoint)
    assert all(torch.equal(tensor, state(whole)[name]) for name, tensor in state(resumed).items())
    assert again == curve


def test_a_training_that_stops_half_way_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    whole, halved = network(), network()
    curve = train(whole, [], data(), TASK, RECIPE, device=CPU, seed=0)
    checkpoint = Checkpoint(tmp_path / "x.checkpoint")
    first = list(train(halved, [], data(), TASK, RECIPE, device=CPU, seed=0, checkpoint=checkpoint, until=1))
    assert first == curve[:1]
    again = network()
    assert train(again, [], data(), TASK, RECIPE, device=CPU, seed=0, checkpoint=checkpoint) == curve
    assert all(torch.equal(tensor, state(whole)[name]) for name, tensor in state(again).items())
    halved_again = network()
    assert list(train(halved_again, [], data(), TASK, RECIPE, device=CPU, seed=0, checkpoint=checkpoint, until=1)) == curve[:1]
    assert all(torch.equal(tensor, state(halved)[name]) for name, tensor in state(halved_again).items()), "not the state of a later epoch"


def test_finished_training_is_not_repeated(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "x.checkpoint")
    model = network()
    train(model, [], data(), TASK, RECIPE, device=CPU, seed=0, checkpoint=checkpoint)
    steps: list[int] = []
    again = network()
    train(
        again,
        [],
        data(),
        TASK,
        RECIPE,
        device=CPU,
        seed=0,
        checkpoint=checkpoint,
        hooks=Hooks(on_step=lambda done, total: steps.append(done)),
    )
    assert steps == []
    assert all(torch.equal(tensor, state(model)[name]) for name, tensor in state(again).items())


def test_exploding_loss_is_said() -> None:
    with pytest.raises(TrainingDiverged, match=r"the training loss became (nan|inf) at step \d+ of \d+; lower the learning rate"):
        train(network(), [], data(), TASK, Recipe(epochs=3, lr=1e30, precision="float32"), device=CPU, seed=0)
    with pytest.raises(TrainingDiverged, match=r"; train in float32 \(recipe\.precision=float32\), or lower the learning rate"):
        train(network(), [], data(), TASK, Recipe(epochs=3, lr=1e30, precision="bfloat16"), device=CPU, seed=0)


def test_distillation_pulls_towards_the_teacher() -> None:
    teacher = network().eval()
    student = network()
    for parameter in student.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    x = data().x

    def distance() -> float:
        student.eval()
        with torch.no_grad():
            return float(TASK.divergence(teacher(x), student(x)).mean())

    before, frozen = distance(), copy.deepcopy(teacher.state_dict())
    train(student, [], data(), TASK, Recipe(epochs=5, lr=0.05, distill=1.0, batch_size=32), device=CPU, seed=0, teacher=teacher)
    assert distance() < before / 2
    assert all(torch.equal(tensor, frozen[name]) for name, tensor in teacher.state_dict().items())


def test_zero_epochs_train_nothing() -> None:
    model = network()
    before = state(model)
    assert train(model, [], data(), TASK, Recipe(epochs=0), device=CPU, seed=0) == []
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(model).items())


def test_batchnorm_is_reestimated_on_images_as_training_saw_them() -> None:
    """An augmentation that moves the mean moves the statistics with it; without augmentation they are those of the JSON data."""
    x = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    split = TensorSplit(x, torch.zeros(64, dtype=torch.long), augment=lambda images, generator: images + 7.0)
    for augment, mean in ((True, x.mean(0) + 7.0), (False, x.mean(0))):
        model = nn.Sequential(nn.BatchNorm1d(5))
        reestimate_batchnorm(model, split, Recipe(reestimate=64, augment=augment), device=CPU, seed=0)
        torch.testing.assert_close(model[0].running_mean, mean)


def test_a_sample_left_alone_in_its_batch_is_passed_over() -> None:
    """BatchNorm cannot normalise one value; 33 samples in batches of 16 leave one."""
    split = data().with_rows(torch.arange(33))
    model = network()
    curve = train(model, [], split, TASK, replace(RECIPE, batch_size=16, reestimate=257), device=CPU, seed=0)
    assert len(curve) == 3
    reestimate_batchnorm(model, data().with_rows(torch.arange(257) % 200), replace(RECIPE, reestimate=257), device=CPU, seed=0)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in model.state_dict().values())
