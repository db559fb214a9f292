"""All allocations of a network, each trained shortly from the float weights by itself: what a study's second rung would say of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.tabular.contest import Contest
from benchmarks.tabular.truth import Picks, Truth, allocation_of
from mpsearch.core.record import Score
from mpsearch.methods.base import Method
from mpsearch.signals.mix import rank_correlation
from mpsearch.training.compiled import Compiler
from mpsearch.training.recipe import Recipe
from mpsearch.trials.evaluator import Evaluator, with_epochs
from mpsearch.trials.problem import Problem

__all__ = ["Trained"]

_EPOCHS = 1
"""As the second rung of the shipped study of these data."""
_TWICE = 96


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
            leaves = [self.score((*prefix, *rest)) for rest in rests]
            yield prefix, [leaf.loss for leaf in leaves], [leaf.error for leaf in leaves]

    def agreement(self, truth: Truth) -> float:
        """Spearman's ρ of the table with a second training, another order and augmentation, of random allocations in the loose budget."""
        inside = np.flatnonzero(Contest.of(truth, "loose").feasible)
        drawn = np.random.default_rng(self._problem.seed).choice(inside, min(_TWICE, len(inside)), replace=False)
        again = [self.score(tuple(map(int, np.unravel_index(place, truth.loss.shape))), 1).loss for place in drawn]
        return rank_correlation(np.array(again), truth.loss.ravel()[drawn])

    def score(self, picks: Picks, more_seed: int = 0) -> Score:
        """What a trial's second rung gives."""
        network = self._evaluator.begin(allocation_of(self._problem.space, picks), self._method)
        self._evaluator.calibrate(network, self._method, self._recipe)
        self._evaluator.train(network, self._method, self._recipe, seed=self._problem.seed + more_seed)
        return self._evaluator.score(network)
