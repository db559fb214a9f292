"""A search problem that is solved in seconds: a network of three layers on 160 vectors."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from mpsearch.core.space import Space
from mpsearch.costs.base import CostInputs
from mpsearch.costs.budgets import parse_budget
from mpsearch.costs.size import size
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.methods.lsq import Lsq
from mpsearch.network.calibrate import Calibration
from mpsearch.network.trace import trace
from mpsearch.study.settings import SearchSettings
from mpsearch.study.stopping import Stopping
from mpsearch.tasks.task import Task
from mpsearch.training.loop import train
from mpsearch.training.recipe import Recipe
from mpsearch.trials.climb import Hyperparameters, Rung
from mpsearch.trials.problem import Problem

__all__ = ["small_problem", "small_settings"]


@cache
def small_problem(epochs: int = 0) -> Problem:
    """Three linear layers, trained for some epochs, 300 bytes."""
    x = torch.randn(160, 6, generator=torch.Generator().manual_seed(0))
    data = TensorSplit(x, (x[:, 0] > x[:, 1]).long())
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    if epochs:
        recipe = Recipe(epochs=epochs, batch_size=32, lr=0.1, precision="float32")
        train(model, [], data, Task.classification(), recipe, device=torch.device("cpu"), seed=0)
    model.eval()
    space = Space(name="s", weights=(1, 2, 4, 8)).resolve(trace(model, x))
    return Problem(
        model=model,
        train=data,
        validation=data,
        task=Task.classification(),
        space=space,
        costs={"size": size(CostInputs(space=space))},
        budgets=(parse_budget("300B"),),
        calibration=Calibration.fit(model, space, [x]),
        device=torch.device("cpu"),
        seed=0,
    )


def small_settings(trials: int) -> SearchSettings:
    """Two rungs, the second of which trains for one epoch."""
    recipe = Recipe(batch_size=32, lr=0.05, precision="float32", reestimate=64)
    hyper = Hyperparameters(method=Lsq(), recipe=recipe, params={"method": "lsq"})
    rungs = (Rung(name="ptq", epochs=0), Rung(name="short", epochs=1, keep=0.5))
    return SearchSettings(stopping=Stopping(trials=trials), rungs=rungs, default=hyper, suggest=lambda trial: hyper)
