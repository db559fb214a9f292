"""All allocations of a network, each trained shortly from the float weights by itself: what a study's second rung would say of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from benchmarks.tabular.truth import Picks
from mpsearch.core.allocation import Allocation
from mpsearch.core.record import Score
from mpsearch.engine.problem import Evaluator, Problem, with_epochs
from mpsearch.methods.base import Method
from mpsearch.training.compiled import Compiler
from mpsearch.training.recipe import Recipe

__all__ = ["Trained"]

_EPOCHS = 1
"""As the second rung of the shipped study of these data."""


class Trained:
    """Scores of all allocations with one choice a tie group, after one epoch.

    Args:
        problem: what is trained; images, their order and the augmentation are the same for all allocations.
        method: of the quantizers.
        recipe: of the training, but for its length.
    """

    def __init__(self, problem: Problem, method: Method, recipe: Recipe) -> None:
        self._problem, self._method, self._recipe = problem, method, with_epochs(recipe, _EPOCHS)
        self._evaluator = Evaluator(problem, Compiler("off", problem.device, problem.seed))
        self.menus = [problem.space.menus[group[0]] for group in problem.space.groups]
        self.images = min(recipe.reestimate, len(problem.train))

    def prefixes(self, depth: int) -> list[Picks]:
        """All picks of the first `depth` groups, in table order."""
        return list(itertools.product(*map(range, map(len, self.menus[:depth]))))

    def scores(self, prefixes: Sequence[Picks]) -> Iterator[tuple[Picks, list[float], list[float]]]:
        """(prefix, losses in nats, error rates) of all leaves under each prefix, leaves in table order."""
        for prefix in prefixes:
            rests = itertools.product(*map(range, map(len, self.menus[len(prefix) :])))
            leaves = [self._score((*prefix, *rest)) for rest in rests]
            yield prefix, [leaf.loss for leaf in leaves], [leaf.error for leaf in leaves]

    def _score(self, picks: Picks) -> Score:
        """What a trial's second rung gives."""
        space = self._problem.space
        taken = zip(space.groups, self.menus, picks, strict=True)
        choices = {space.names[index]: menu[pick] for group, menu, pick in taken for index in group}
        network = self._evaluator.begin(Allocation({name: choices[name] for name in space.names}), self._method)
        self._evaluator.calibrate(network, self._method, self._recipe)
        self._evaluator.train(network, self._method, self._recipe, seed=self._problem.seed)
        return self._evaluator.score(network)
