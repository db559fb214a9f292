"""Which BatchNorm statistics an untrained network takes: the float network's own on foreign data, re-estimated ones where it learned."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from mpsearch.core.choice import Choice
from mpsearch.core.space import Space
from mpsearch.core.statistics import CORRECTED, KEPT, REESTIMATED, WAYS
from mpsearch.costs.base import CostInputs
from mpsearch.costs.budgets import parse_budget
from mpsearch.costs.size import size
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.methods.gptq import Gptq
from mpsearch.methods.lsq import Lsq
from mpsearch.network.batchnorm import reestimate
from mpsearch.network.calibrate import Calibration
from mpsearch.network.trace import trace
from mpsearch.tasks.task import Task
from mpsearch.training.compiled import Compiler
from mpsearch.training.recipe import Recipe
from mpsearch.trials.evaluator import Evaluator
from mpsearch.trials.problem import Problem
from mpsearch.trials.statistics import choose_statistics, reference_allocations

RECIPE = Recipe(reestimate=256, precision="float32")


def problem(*, foreign: bool, widths: tuple[int, ...] = (1, 2, 4, 8), budget: str = "7.9bit", samples: int = 400) -> Problem:
    """A network whose statistics are those of its data; or of other data than those at hand."""
    torch.manual_seed(0)
    conv = lambda inputs: (nn.Conv2d(inputs, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())  # noqa: E731
    model = nn.Sequential(*conv(1), *conv(8), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4)).eval()
    x = torch.randn(samples, 1, 8, 8)
    with torch.no_grad():
        reestimate(model, x.split(100))
    data = TensorSplit(0.6 * x + 0.5 if foreign else x, torch.zeros(samples, dtype=torch.int64))
    space = Space(name="s", weights=widths).resolve(trace(model, data.x[:64]))
    costs = {"size": size(CostInputs(space=space)), "bits": bits(space)}
    return Problem(
        model=model,
        train=data,
        validation=data,
        task=Task.classification(),
        space=space,
        costs=costs,
        budgets=(parse_budget(budget),),
        calibration=Calibration.fit(model, space, [data.x[:256]]),
        device=torch.device("cpu"),
        seed=0,
    )


def bits(space):  # type: ignore[no-untyped-def]
    from mpsearch.costs.bits import bits as cost

    return cost(CostInputs(space=space))


def divergence(problem: Problem, way: str) -> float:
    evaluator = Evaluator(replace(problem, statistics=way), Compiler("off", problem.device))
    network = evaluator.begin(problem.space.uniform(Choice(8)), Lsq())
    evaluator.calibrate(network, Lsq(), RECIPE)
    return evaluator.divergence(network, 256)


def test_foreign_data_do_not_replace_the_statistics() -> None:
    foreign = problem(foreign=True)
    choice = choose_statistics(foreign, Lsq(), RECIPE, reference_allocations(foreign))
    assert choice is not None
    assert choice.chosen in (KEPT, CORRECTED)
    assert choice.allocations == ("uniform w4af", "uniform w8af")
    assert choice.divergences[REESTIMATED][1] > 100 * choice.divergences[choice.chosen][1]
    assert divergence(foreign, REESTIMATED) > 100 * divergence(foreign, choice.chosen)


def test_low_bits_need_a_correction_that_kept_statistics_do_not_give() -> None:
    foreign = problem(foreign=True, widths=(1, 2), budget="1.5bit")
    choice = choose_statistics(foreign, Lsq(), RECIPE, reference_allocations(foreign))
    assert choice is not None
    assert choice.divergences[CORRECTED][0] < choice.divergences[KEPT][0]
    assert set(choice.divergences) == set(WAYS)


def test_statistics_are_reestimated_where_nothing_is_clearly_nearer() -> None:
    own = problem(foreign=False, widths=(1, 2), budget="1.5bit")
    choice = choose_statistics(own, Lsq(), RECIPE, reference_allocations(own))
    assert choice is not None
    assert choice.chosen == REESTIMATED
    assert choice.allocations == ("uniform w1af",)  # the other reference could not change it


@pytest.mark.parametrize("way", [KEPT, CORRECTED])
def test_a_float_network_stays_itself(way: str) -> None:
    own = problem(foreign=True, widths=(8, 32), budget="33bit")
    evaluator = Evaluator(replace(own, statistics=way), Compiler("off", own.device))
    network = evaluator.begin(own.space.uniform(Choice(32)), Lsq())
    evaluator.calibrate(network, Lsq(), RECIPE)
    for name, tensor in own.model.state_dict().items():
        torch.testing.assert_close(network.tensor(name), tensor, atol=1e-5, rtol=1e-5)


def test_the_corrector_serves_every_allocation() -> None:
    foreign = replace(problem(foreign=True), statistics=CORRECTED)
    again = Evaluator(foreign, Compiler("off", foreign.device))
    allocations = [foreign.space.uniform(Choice(bits)) for bits in (2, 4)]
    scores = [again.untrained(allocation, Lsq(), RECIPE) for allocation in (*allocations, allocations[0])]
    assert scores[0] == scores[2] != scores[1]


def test_nothing_is_chosen_where_nothing_can_be() -> None:
    foreign = problem(foreign=True)
    references = reference_allocations(foreign)
    assert choose_statistics(foreign, Gptq(), RECIPE, references) is None
    assert choose_statistics(foreign, Lsq(), replace(RECIPE, reestimate=0), references) is None
    assert choose_statistics(foreign, Lsq(), RECIPE, []) is None
    few = problem(foreign=True, samples=60)
    assert choose_statistics(few, Lsq(), RECIPE, reference_allocations(few)) is None
    assert choose_statistics(replace(foreign, model=nn.Sequential(nn.Linear(2, 2))), Lsq(), RECIPE, references) is None
