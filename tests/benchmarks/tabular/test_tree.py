"""The tree's numbers are those of an untrained trial: same calibration, same statistics, same baked network."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.tabular.stages import cut
from benchmarks.tabular.trained import Trained
from benchmarks.tabular.tree import Tree
from benchmarks.tabular.truth import Truth
from mpsearch.core.allocation import Allocation
from mpsearch.core.space import Space
from mpsearch.core.table import Table
from mpsearch.costs.base import CostInputs
from mpsearch.costs.size import size
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.methods.lapq import Lapq
from mpsearch.methods.lsq import Lsq
from mpsearch.models.resnet_cifar import resnet_cifar
from mpsearch.network.calibrate import Calibration
from mpsearch.network.trace import trace
from mpsearch.tasks.task import Task
from mpsearch.training.compiled import Compiler
from mpsearch.training.recipe import Recipe
from mpsearch.training.supernet import SupernetRecipe
from mpsearch.trials.evaluator import Evaluator, with_epochs
from mpsearch.trials.problem import Problem
from mpsearch.trials.supernet import SupernetEvaluator

RECIPE = Recipe(reestimate=24, precision="float32")
TIES = (("conv1", "layer1.0.*"), ("layer2.0.*",), ("layer3.0.*", "fc"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def problem(ties: tuple[tuple[str, ...], ...] = TIES) -> Problem:
    torch.manual_seed(0)
    model = resnet_cifar(depth=8, in_channels=1).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
    images = torch.randn(48, 1, 8, 8)
    labels = torch.randint(10, (48,))
    train, validation = TensorSplit(images[:32], labels[:32]), TensorSplit(images[32:], labels[32:])
    space = Space(name="test", weights=(2, 4), ties=ties).resolve(trace(model, images[:4]))
    return Problem(
        model=model,
        train=train,
        validation=validation,
        task=Task.classification(),
        space=space,
        costs={"size": size(CostInputs(space=space))},
        budgets=(),
        calibration=Calibration.fit(model, space, []),
        device=torch.device("cpu"),
        seed=0,
    )


def allocation(asked: Problem, picks: tuple[int, ...]) -> Allocation:
    space = asked.space
    bits = {space.names[index]: space.menus[index][picks[g]] for g, group in enumerate(space.groups) for index in group}
    return Allocation({name: bits[name] for name in space.names})


def test_leaves_are_what_a_trial_scores() -> None:
    asked, method = problem(), Lsq(grid="half")
    tree = Tree.untrained(asked, method, RECIPE)
    evaluator = Evaluator(asked, Compiler("off", asked.device, 0))
    found = list(tree.scores(tree.prefixes(1)))
    assert [prefix for prefix, _, _ in found] == [(0,), (1,)]
    losses = [loss for _, under, _ in found for loss in under]
    errors = [error for _, _, under in found for error in under]
    assert len(set(losses)) == 8
    for picks, loss, error in zip(itertools.product(range(2), repeat=3), losses, errors, strict=True):
        network = evaluator.begin(allocation(asked, picks), method)
        score = evaluator.ptq(network, method, RECIPE)
        assert loss == pytest.approx(score.loss, rel=1e-5)
        assert error == pytest.approx(score.error)


def test_leaves_of_a_supernet_are_its_scores() -> None:
    asked = problem()
    recipe = SupernetRecipe(recipe=replace(RECIPE, epochs=1, batch_size=16), images=24)
    evaluator = SupernetEvaluator(asked, Compiler("off", asked.device, 0), recipe, Lsq(grid="half"))
    supernet = evaluator.prepare()
    tree = Tree.shared(asked, supernet)
    losses = [loss for _, under, _ in tree.scores(tree.prefixes(2)) for loss in under]
    for picks, loss in zip(itertools.product(range(2), repeat=3), losses, strict=True):
        wanted = supernet.score(allocation(asked, picks), asked.validation, asked.task, device=asked.device)
        assert loss == pytest.approx(wanted.loss, rel=1e-5)


def test_leaves_of_short_trainings_are_what_a_trial_scores_after_one_epoch() -> None:
    asked, method, recipe = problem(), Lsq(grid="half"), replace(RECIPE, epochs=3, batch_size=16, lr=0.05)
    trained = Trained(asked, method, recipe)
    found = [(prefix, loss) for prefix, losses, _ in trained.scores(trained.prefixes(2)[1:2]) for loss in losses]
    evaluator = Evaluator(asked, Compiler("off", asked.device, 0))
    for (prefix, loss), last in zip(found, range(2), strict=True):
        network = evaluator.begin(allocation(asked, (*prefix, last)), method)
        before = evaluator.ptq(network, method, recipe).loss
        evaluator.train(network, method, with_epochs(recipe, 1), seed=asked.seed)
        assert loss == evaluator.score(network).loss != before


def test_trainings_agree_with_a_table_of_trainings_in_the_same_order() -> None:
    asked = problem()
    trained = Trained(asked, Lsq(grid="half"), replace(RECIPE, batch_size=8, lr=0.05))
    same = np.array([trained.score(picks, 1).loss for picks in itertools.product(range(2), repeat=3)]).reshape(2, 2, 2)
    bytes_of = asked.costs["size"]
    assert isinstance(bytes_of, Table)
    table = Truth(name="test", space=asked.space, loss=same, error=same, size=bytes_of, tables={})
    assert trained.agreement(table) == pytest.approx(1)
    assert trained.agreement(replace(table, loss=-same)) == pytest.approx(-1)


def test_order_and_depth_of_prefixes_change_nothing() -> None:
    tree = Tree.untrained(problem(), Lsq(grid="half"), RECIPE)
    deep = {prefix: losses for prefix, losses, _ in tree.scores(tree.prefixes(2)[::-1])}
    shallow = {prefix: losses for prefix, losses, _ in tree.scores(tree.prefixes(1))}
    for first in range(2):
        assert deep[first, 0] + deep[first, 1] == pytest.approx(shallow[(first,)], rel=1e-5)


def test_stages_in_a_row_are_the_network() -> None:
    asked = problem()
    x = torch.randn(5, 1, 8, 8)
    with torch.no_grad():
        wanted = asked.model(x)
        for stage in cut(asked.model, asked.space):  # type: ignore[arg-type]
            x = stage(x)
    assert torch.equal(x, wanted)


@pytest.mark.parametrize(
    ("ties", "says"),
    [
        ((("conv1", "layer2.0.*"), ("layer1.0.*",), ("layer3.0.*", "fc")), "runs of blocks"),
        ((("conv1", "layer1.0.conv1"), ("layer1.0.conv2", "layer2.0.*"), ("layer3.0.*", "fc")), "two groups"),
    ],
)
def test_groups_that_are_no_runs_of_blocks_are_refused(ties: tuple[tuple[str, ...], ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Tree.untrained(problem(ties), Lsq(grid="half"), RECIPE)


def test_methods_that_calibrate_the_whole_network_are_refused() -> None:
    with pytest.raises(ValueError, match="calibrates"):
        Tree.untrained(problem(), Lapq(), RECIPE)
