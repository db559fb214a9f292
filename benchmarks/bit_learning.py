"""Bits that a method's own training finds: a short run at a penalty, and a search for the penalty that gives the mean bits asked for.

Two methods take the target itself (`learned_range` its budget, `alq` its number of bases), two a price: mean bits fall as it rises, so its
logarithm is bisected once it is bracketed, in steps of a factor until then. Bits are searched through the whole of a run. `bsq`
re-quantizes halfway and at the end: of its useful prices, which span a factor of a few, more rounds leave fewer. `learned_range` has its
steps and ranges move five times as fast: their gradients are clipped, and 34 steps of the recipe's own rate go from six bits to five.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mpsearch.config import StudyConfig
from mpsearch.core.choice import Choice
from mpsearch.methods import METHODS
from mpsearch.methods.base import Method
from mpsearch.training.compiled import Compiler
from mpsearch.trials.evaluator import Evaluator
from mpsearch.trials.problem import Problem

__all__ = ["LEARNERS", "Learned", "bisect_price", "learn_bits"]

_TOLERANCE = 0.25
"""In mean bits; the rest is taken up when bits are brought to the budget."""
_RUNS = 6


@dataclass(frozen=True, kw_only=True)
class _Learner:
    """How a method is told what to reach: a method of a target, or of a price that starts at `first_price` and changes by `factor`.

    Args:
        of: the method at a target or price.
        first_price: tried first; None for a method of a target.
        factor: from one price to the next.
        scale_lr: of the recipe, for what learns the bits.
    """

    of: Callable[[float], Method]
    first_price: float | None = None
    factor: float = 2.0
    scale_lr: float = 1.0


def _method(name: str, **settings: Any) -> Method:
    return METHODS[name](**settings)


LEARNERS: Mapping[str, _Learner] = {
    "bsq": _Learner(of=lambda price: _method("bsq", alpha=price, interval=0.5, search=1.0), first_price=0.05, factor=3.0),
    "cpq": _Learner(of=lambda price: _method("cpq", dropbits=True, bit_penalty=price, search=1.0), first_price=32.0, factor=4.0),
    "learned_range": _Learner(of=lambda target: _method("learned_range", weight_budget=target), scale_lr=5.0),
    "alq": _Learner(of=lambda target: _method("alq", target_bits=target)),
}


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What the nearest run found.

    Args:
        bits: by layer.
        mean: over all weights.
        tries: (price or target, mean bits) of every run.
        seconds: of all runs.
    """

    bits: Mapping[str, float]
    mean: float
    tries: list[tuple[float, float]]
    seconds: float


def learn_bits(problem: Problem, config: StudyConfig, method: str, *, target: float, start: int, epochs: int) -> Learned:
    """Mean weight bits near `target`, from `start` bits everywhere, in runs of `epochs` of the study's recipe.

    Args:
        problem: float network and data.
        config: the study, for its recipe.
        method: a key of `LEARNERS`.
        target: mean weight bits; no less than the method can reach.
        start: bits that every layer has at first.
        epochs: of one run.
    """
    learner, began = LEARNERS[method], time.monotonic()
    found: dict[float, Mapping[str, float]] = {}

    def mean_at(setting: float) -> float:
        found[setting] = _run(problem, config, learner.of(setting), start, epochs, learner.scale_lr)
        return mean_bits(problem, found[setting])

    tries = (
        [(target, mean_at(target))] if learner.first_price is None else bisect_price(mean_at, target, learner.first_price, learner.factor)
    )
    setting, mean = min(tries, key=lambda pair: abs(pair[1] - target))
    return Learned(bits=found[setting], mean=mean, tries=tries, seconds=time.monotonic() - began)


def bisect_price(mean_at: Callable[[float], float], target: float, first: float, factor: float) -> list[tuple[float, float]]:
    """(price, mean bits) of each price tried, until one is within the tolerance or the runs are used up.

    Args:
        mean_at: mean bits at a price; falls as it rises, noise aside.
        target: mean bits wanted.
        first: price tried first.
        factor: from one price to the next until the target is bracketed.
    """
    tries: list[tuple[float, float]] = []
    low, high = -math.inf, math.inf
    price = first
    while len(tries) < _RUNS:
        mean = mean_at(price)
        tries.append((price, mean))
        if abs(mean - target) <= _TOLERANCE:
            break
        if mean > target:
            low = math.log(price)
        else:
            high = math.log(price)
        bracketed = math.isfinite(low) and math.isfinite(high)
        beyond = price * factor if mean > target else price / factor
        price = math.exp((low + high) / 2) if bracketed else beyond
    return tries


def mean_bits(problem: Problem, bits: Mapping[str, float]) -> float:
    """`Σ N_l b_l / Σ N_l` over all layers."""
    layers = problem.space.layers
    return sum(layer.weights * bits[layer.name] for layer in layers) / sum(layer.weights for layer in layers)


def _run(problem: Problem, config: StudyConfig, method: Method, start: int, epochs: int, scale_lr: float) -> Mapping[str, float]:
    evaluator = Evaluator(problem, Compiler("off", problem.device))
    network = evaluator.begin(problem.space.uniform(Choice(start)), method)
    recipe = replace(config.recipe.build({"epochs": epochs}), scale_lr=scale_lr)
    evaluator.train(network, method, recipe, seed=problem.seed + 1)
    bits = method.learned_bits(network)
    assert bits is not None
    return dict(bits)
