"""Shared weights: every allocation has its own score, which stays; ends are trained each step; killed, they go on; they rank."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import SpaceError, TrainingDiverged
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.data import load_data
from mpsearch.data.base import Splits
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.methods.lsq import Lsq
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.tasks.task import Task
from mpsearch.training.checkpoint import Checkpoint
from mpsearch.training.evaluate import evaluate
from mpsearch.training.loop import Hooks, reestimate_batchnorm, train
from mpsearch.training.recipe import Recipe
from mpsearch.training.supernet import Supernet, SupernetRecipe
from tests.networks import NETWORKS, trained_statistics

CPU = torch.device("cpu")
TASK = Task.classification()
RECIPE = Recipe(epochs=2, batch_size=64, lr=0.02, distill=0.8, precision="float32", reestimate=256)
WIDTHS = (1, 2, 3, 4, 8)


@cache
def digits() -> Splits:
    return load_data("digits", seed=0)


@cache
def float_network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU()),
        *(nn.Conv2d(12, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)),
    )
    train(model, [], digits().train, TASK, Recipe(epochs=5, batch_size=32, lr=0.1, precision="float32"), device=CPU, seed=0)
    return model.eval()


@cache
def parts(widths: tuple[int, ...] = WIDTHS) -> tuple[ResolvedSpace, Calibration]:
    images = next(iter(digits().train.batches(256)))[0]
    space = Space(name="s", weights=widths).resolve(trace(float_network(), images))
    return space, Calibration.fit(float_network(), space, [images])


def supernet(epochs: int = 2, draws: int = 1, widths: tuple[int, ...] = WIDTHS, **recipe: Any) -> Supernet:
    space, calibration = parts(widths)
    made = Recipe(**{**RECIPE.__dict__, "epochs": epochs, **recipe})
    return Supernet(float_network(), space, calibration, SupernetRecipe(recipe=made, draws=draws), style="half", costs={}, budgets=())


def trained(made: Supernet, **options: Any) -> Supernet:
    made.train(digits().train, TASK, device=CPU, seed=0, teacher=float_network(), **options)
    made.freeze(digits().train, device=CPU, seed=0)
    return made


def score(made: Supernet, allocation: Allocation) -> float:
    return made.score(allocation, digits().validation, TASK, device=CPU).loss


def some(space: ResolvedSpace, count: int) -> list[Allocation]:
    random = np.random.default_rng(0)
    return [
        Allocation({name: menu[random.integers(len(menu))] for name, menu in zip(space.names, space.menus, strict=True)})
        for _ in range(count)
    ]


@cache
def shared() -> Supernet:
    return trained(supernet(epochs=5, draws=2))


def test_an_allocation_scored_again_scores_the_same_bit_for_bit() -> None:
    made = shared()
    allocations = some(parts()[0], 6)
    first = [score(made, allocation) for allocation in allocations]
    assert [score(made, allocation) for allocation in reversed(allocations)] == first[::-1]
    assert len(set(first)) == len(set(allocations))


def test_scores_are_those_of_the_network_at_these_bits() -> None:
    """By hand: bits set, weights quantized on the spot, BatchNorm re-estimated, one pass."""
    made = trained(supernet(epochs=1))
    allocation = some(parts()[0], 1)[0]
    found = score(made, allocation)
    plain = supernet()
    plain.network.model.load_state_dict(made.network.model.state_dict())
    plain.network.set_bits(allocation)
    reestimate_batchnorm(plain.network.model, digits().train, Recipe(reestimate=128), device=CPU, seed=0)
    assert evaluate(plain.network.model, digits().validation, TASK, device=CPU).loss == pytest.approx(found, rel=0.05)


def test_ends_are_trained_in_every_step_and_the_middle_only_when_drawn() -> None:
    made = supernet(epochs=1, draws=0)
    before = copy.deepcopy(made.network.model.state_dict())
    trained(made)
    moved = {name: not torch.equal(tensor, before[name]) for name, tensor in made.network.model.state_dict().items() if ".step" in name}
    assert all(moved[name] == name.endswith(("step1", "step8")) for name in moved)
    assert sum(moved.values()) == 2 * len(parts()[0].layers)
    assert made.network.allocation == parts()[0].uniform(Choice(8)), "training ends where it began"


def test_a_step_follows_the_mean_gradient_of_its_allocations() -> None:
    lr = 0.5
    free: dict[str, Any] = {"momentum": 0.0, "weight_decay": 0.0, "distill": 0.0, "augment": False}
    x, y = next(iter(digits().train.take(64, 0).batches(64)))
    made = supernet(epochs=1, draws=0, lr=lr, **free)
    network = made.network
    start = {name: parameter.detach().clone() for name, parameter in network.model.named_parameters()}
    expected = {name: torch.zeros_like(tensor) for name, tensor in start.items()}
    network.model.train()
    largest = parts()[0].uniform(Choice(8))
    for allocation in (largest, parts()[0].uniform(Choice(1))):
        network.set_bits(allocation)
        network.model.zero_grad()
        TASK.loss(call(network.model, x), y).backward()
        for name, parameter in network.model.named_parameters():
            expected[name] += 0 if parameter.grad is None else parameter.grad / 2
    network.begin(largest)
    made.train(TensorSplit(x, y), TASK, device=CPU, seed=0)
    names = [name for name, _ in network.model.named_parameters() if "step" not in name]
    moved = torch.cat([(start[name] - network.tensor(name).detach()).flatten() for name in names])
    wanted = torch.cat([lr * expected[name].flatten() for name in names])
    # Convolutions sum in another order with another number of threads, and a ReLU at its kink then passes another gradient.
    assert float((moved - wanted).norm()) < 0.02 * float(wanted.norm())


@pytest.mark.parametrize("stop_at", [5, 17])
def test_killed_training_goes_on_as_if_nothing_happened(stop_at: int, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    whole = trained(supernet())
    checkpoint = Checkpoint(tmp_path / "supernet.checkpoint", every=0.0)
    with pytest.raises(KeyboardInterrupt):
        trained(supernet(), checkpoint=checkpoint, on_step=stop)
    resumed = trained(supernet(), checkpoint=checkpoint)
    steps: list[int] = []
    again = trained(supernet(), checkpoint=checkpoint, on_step=lambda done, total: steps.append(done))
    assert steps == [], "finished training is not repeated"
    for allocation in some(parts()[0], 3):
        assert score(whole, allocation) == score(resumed, allocation) == score(again, allocation)


def test_training_shares_what_calibration_cannot() -> None:
    made, space = shared(), parts()[0]
    network = Network(float_network(), *parts(), Lsq(grid="half"))
    network.begin(space.uniform(Choice(1)))
    reestimate_batchnorm(network.model, digits().train, RECIPE, device=CPU, seed=0)
    untrained = evaluate(network.model, digits().validation, TASK, device=CPU).loss
    assert score(made, space.uniform(Choice(1))) < untrained / 1.5
    assert score(made, space.uniform(Choice(8))) < score(made, space.uniform(Choice(1)))


def test_scores_rank_allocations_as_short_training_does() -> None:
    space, calibration = parts()
    network = Network(float_network(), space, calibration, Lsq(grid="half"))
    truth, found = [], []
    for allocation in some(space, 12):
        network.begin(allocation)
        hooks = Hooks.of(Lsq(grid="half"), network)
        train(
            network.model,
            network.quantizer_parameters(),
            digits().train,
            TASK,
            RECIPE,
            device=CPU,
            seed=1,
            teacher=float_network(),
            hooks=hooks,
        )
        truth.append(evaluate(network.model, digits().validation, TASK, device=CPU).loss)
        found.append(score(shared(), allocation))
    assert spearmanr(found, truth).statistic > 0.7


def has_bfloat16_lstm() -> bool:
    try:
        with torch.autocast("cpu", torch.bfloat16):
            torch.nn.LSTM(2, 2)(torch.zeros(1, 1, 2))
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_any_kind_of_network(name: str, precision: Any) -> None:
    if name == "recurrent" and precision == "bfloat16" and not has_bfloat16_lstm():
        pytest.skip("torch has no bfloat16 LSTM for this processor")
    make, inputs = NETWORKS[name]
    torch.manual_seed(0)
    model, x = trained_statistics(make()), inputs()
    classes = call(model, x).shape[-1]
    y = torch.arange(8) % classes
    space = Space(name="s", weights=(1, 4, FLOAT_BITS), activations=(2, 8, FLOAT_BITS)).resolve(trace(model, x))
    split = _Whole(x, y)
    settings = SupernetRecipe(recipe=Recipe(epochs=2, batch_size=8, lr=1e-3, precision=precision, distill=0.5))
    made = Supernet(model, space, Calibration.fit(model, space, [x]), settings, style="twos", costs={}, budgets=())
    curve = made.train(split, TASK, device=CPU, seed=0, teacher=model)
    assert len(curve) == 2
    made.freeze(split, device=CPU, seed=0)
    allocations = some(space, 3)
    first = [made.score(allocation, split, TASK, device=CPU) for allocation in allocations]
    assert [made.score(allocation, split, TASK, device=CPU) for allocation in allocations] == first


class _Whole:
    """One batch, whatever the inputs are."""

    indices = None

    def __init__(self, x: Any, y: torch.Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y)

    def steps(self, batch_size: int, *, drop_last: bool = False) -> int:
        return 1

    def batches(self, batch_size: int, **_: Any) -> Any:
        yield self.x, self.y

    def take(self, n: int, seed: int) -> _Whole:
        return self


def test_what_cannot_be_scored_or_trained_is_said() -> None:
    stranger = Allocation({name: Choice(6) for name in parts()[0].names})
    with pytest.raises(SpaceError, match="w6af, which is not on its menu"):
        score(shared(), stranger)
    with pytest.raises(TrainingDiverged, match="lower the learning rate"):
        trained(supernet(lr=1e30))
