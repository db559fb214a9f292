"""Real runs on tiny networks, and what the card reads of a run that was only prepared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import mpsearch
from mpsearch.card.inputs import CardInputs
from mpsearch.card.schema import Card
from mpsearch.card.sections import Flip
from mpsearch.config.study import validate_study
from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.progress import Silent
from mpsearch.data.base import Splits, as_split
from mpsearch.run.setup import assemble
from mpsearch.tasks.task import Task
from mpsearch.training.recipe import Recipe

RECIPE = Recipe(optimizer="adamw", lr=2e-3, scale_lr=0.1, batch_size=32, distill=0.5, reestimate=96, precision="float32")
CALIBRATED = Recipe(batch_size=32, reestimate=96, precision="float32")
EPOCHS, TRAIN, VALIDATION, TEST, IMAGES = 2, 160, 40, 40, 64
SPACE = {"weights": [2, 3, 4, 8], "activations": [4, 8]}


def vectors() -> tuple[Tensor, Tensor]:
    x = torch.randn(TRAIN + VALIDATION + TEST, 6)
    return x, (x[:, :3].sum(1) > x[:, 3:].sum(1)).long()


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 2))


def searched(folder: Path, *, seen: int = 0, **changes: Any) -> mpsearch.Result:
    """A run; `seen` samples of the test split are training samples."""
    torch.manual_seed(0)
    x, y = vectors()
    first = TRAIN + VALIDATION
    test = TensorDataset(torch.cat([x[:seen], x[first:]]), torch.cat([y[:seen], y[first:]]))
    arguments: dict[str, Any] = {
        "budget": "3.2bit",
        "space": SPACE,
        "recipe": RECIPE,
        "images": IMAGES,
        "trials": 2,
        "epochs": EPOCHS,
        "effort": "quick",
        "signals": ["fisher"],
        "test": test,
        "card": "full",
        "run_dir": folder / "run",
        "progress": False,
    }
    return mpsearch.search(
        mlp().eval(), TensorDataset(x[:TRAIN], y[:TRAIN]), TensorDataset(x[TRAIN:first], y[TRAIN:first]), **{**arguments, **changes}
    )


def card_of(result: mpsearch.Result) -> Card:
    return Card.from_json((result.run_dir / "card.json").read_text())


def prepared(model: nn.Module, x: Tensor, y: Tensor, weights: list[Any], acts: list[Any], budget: str = "3bit") -> CardInputs:
    """A run before its first trial; a third of the samples each for training, validation and test."""
    config = validate_study(
        {
            "name": "t",
            "data": {"source": "memory"},
            "model": {"factory": "t:t"},
            "space": {"weights": weights, "activations": acts},
            "budgets": [budget],
            "methods": {"lsq": {}},
            "recipe": {"batch_size": 32, "reestimate": 96, "precision": "float32"},
            "signals": {"names": ["fisher"], "images": 64},
            "device": "cpu",
        },
        label="t",
    )
    third = len(x) // 3
    parts = [as_split(TensorDataset(x[i * third : (i + 1) * third], y[i * third : (i + 1) * third])) for i in range(3)]
    splits = Splits(name="t", train=parts[0], validation=parts[1], test=parts[2], task=Task.classification(), fingerprint="t")
    made = assemble(config, splits, model, Silent())
    return CardInputs(config=config, splits=splits, problem=made.problem, claim="0" * 16)


def pictures(classes: int = 3) -> tuple[Tensor, Tensor]:
    """Noise with a bright row that tells the class; the same for every call."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(288, 1, 8, 8, generator=generator)
    y = torch.randint(0, classes, (288,), generator=generator)
    x[torch.arange(288), 0, 2 * y] += 2.0
    return x, y


def uniform(which: CardInputs, weight_bits: int, act_bits: int = 32) -> Allocation:
    return Allocation({name: Choice(weight_bits, act_bits) for name in which.problem.space.names})


def by_toggle(flips: list[Flip]) -> dict[str, Flip]:
    assert [flip.toggle for flip in flips] == [f"T{number}" for number in range(1, 10)]
    return {flip.toggle: flip for flip in flips}
