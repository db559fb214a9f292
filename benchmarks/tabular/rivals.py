"""Who else takes part: Optuna's samplers, chance, and the searches that answer once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import optuna

from benchmarks.tabular.contest import Contest, Contestant, Entry
from benchmarks.tabular.truth import ACTIVATION_DISTANCE, SQNR, Picks, Truth
from mpsearch.allocate.program import grouped
from mpsearch.allocate.solve import solve
from mpsearch.core.budget import Budget

__all__ = ["FRONT_RIVALS", "RIVALS"]

_POPULATION = 20
"""Of NSGA-II: its default of 50 would see two generations in 100 trials."""
_SIZES = 512
"""How finely those that answer once are asked for a front: more answers than trials count."""


class _Optuna:
    """A sampler over one integer a group, the position on the menu, which it may take for ordered; the value is log loss.

    Its first trials, random by default, are random allocations that fit; as many as the sampler would have drawn.
    """

    def __init__(self, contest: Contest, seed: int, sampler: optuna.samplers.BaseSampler, *, front: bool, starts: int = 10) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._menus = [len(menu) for menu in contest.truth.menus]
        self._front = front
        self._study = optuna.create_study(sampler=sampler, directions=["minimize"] * (2 if front else 1))
        self._trial: optuna.trial.Trial | None = None
        inside = np.random.default_rng(seed).permutation(np.argwhere(contest.feasible))
        for start in inside[:starts].tolist():
            self._study.enqueue_trial({f"group{index}": pick for index, pick in enumerate(start)})

    def ask(self) -> Picks:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._trial = self._study.ask()
            return tuple(self._trial.suggest_int(f"group{index}", 0, count - 1) for index, count in enumerate(self._menus))

    def tell(self, picks: Picks, loss: float, violation: float) -> None:
        assert self._trial is not None
        self._trial.set_constraint("size", violation)
        values = [math.log(loss), violation] if self._front else [math.log(loss)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._study.tell(self._trial, values)


class _Random:
    """Allocations inside the budget in random order."""

    def __init__(self, contest: Contest, seed: int) -> None:
        inside = np.argwhere(contest.feasible)
        self._order = iter(np.random.default_rng(seed).permutation(inside).tolist())

    def ask(self) -> Picks | None:
        drawn = next(self._order, None)
        return None if drawn is None else tuple(drawn)

    def tell(self, picks: Picks, loss: float, violation: float) -> None:
        pass


Answer = Callable[[Truth, int, str], Picks]
"""(table of truths, bytes, signal) → what that signal says is best within so many bytes."""


class _Once:
    """What a signal says, and no second thought: one answer, or for a front the answers to ever closer sizes below the limit."""

    def __init__(self, contest: Contest, answer: Answer, table: str, *, front: bool) -> None:
        smallest, span = int(contest.truth.bytes.min()), contest.limit - int(contest.truth.bytes.min())
        limits = [smallest + round(share * span) for share in (_shares(_SIZES) if front else (1.0,))]
        self._answers = iter(dict.fromkeys(answer(contest.truth, limit, table) for limit in limits))

    def ask(self) -> Picks | None:
        return next(self._answers, None)

    def tell(self, picks: Picks, loss: float, violation: float) -> None:
        pass


def _shares(count: int) -> list[float]:
    """1, ½, ¾, ¼, ⅞, …: every next one where the others are far."""
    return [1 - sum((index >> bit & 1) * 0.5 ** (bit + 1) for bit in range(index.bit_length())) for index in range(count)]


def _optimal(truth: Truth, limit: int, table: str) -> Picks:
    found = solve(truth.space, truth.tables[table], {"size": truth.size}, [Budget("size", float(limit), f"{limit}B")])
    return truth.picks(found.allocation)


def _greedy(truth: Truth, limit: int, table: str) -> Picks:
    """From the most bits down the list of (group, choice) in order of the ratio that group alone leaves, until the size holds.

    Qualcomm's AIMET, automatic mixed precision: its list is sorted the same way, by decibels.
    """
    values, sizes = grouped(truth.space, truth.tables[table]), grouped(truth.space, truth.size)
    columns = [[truth.space.choices.index(choice) for choice in menu] for menu in truth.menus]
    steps = sorted((values[group, column], group, pick) for group, menu in enumerate(columns) for pick, column in enumerate(menu))
    picks = [int(np.argmax(sizes[group, menu])) for group, menu in enumerate(columns)]
    for _, group, pick in steps:
        if truth.bytes[tuple(picks)] <= limit:
            break
        if sizes[group, columns[group][pick]] < sizes[group, columns[group][picks[group]]]:
            picks[group] = pick
    return tuple(picks)


def _nsga(contest: Contest, seed: int, *, front: bool) -> Contestant:
    sampler = optuna.samplers.NSGAIISampler(seed=seed, population_size=_POPULATION)
    return _Optuna(contest, seed, sampler, front=front, starts=_POPULATION)


def _gaussian_process(seed: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.samplers.GPSampler(seed=seed, deterministic_objective=True)


ONCE: tuple[tuple[str, Answer, str], ...] = (
    ("greedy by SQNR (AIMET)", _greedy, SQNR),
    ("MILP by fisher", _optimal, "fisher"),
    ("MILP by activation distance (MCT)", _optimal, ACTIVATION_DISTANCE),
    ("MILP by Hessian trace (HAWQ)", _optimal, "hessian"),
)


def _once(name: str, answer: Answer, table: str, *, front: bool) -> Entry:
    name = f"front: {name}" if front else name
    return Entry(name=name, start=lambda c, _: _Once(c, answer, table, front=front), seeded=False, front=front)


RIVALS: tuple[Entry, ...] = (
    Entry(name="random", start=_Random),
    Entry(name="Optuna TPE", start=lambda c, s: _Optuna(c, s, optuna.samplers.TPESampler(seed=s), front=False)),
    Entry(
        name="Optuna NSGA-II",
        start=lambda c, s: _nsga(c, s, front=False),
    ),
    # Half as far as the others: beyond, a proposal takes seconds.
    Entry(name="Optuna GP", start=lambda c, s: _Optuna(c, s, _gaussian_process(s), front=False), trials=50),
    *(_once(*which, front=False) for which in ONCE),
)

FRONT_RIVALS: tuple[Entry, ...] = (
    Entry(name="front: random", start=_Random, front=True),
    Entry(name="front: Optuna TPE", start=lambda c, s: _Optuna(c, s, optuna.samplers.TPESampler(seed=s), front=True), front=True),
    Entry(
        name="front: Optuna NSGA-II",
        start=lambda c, s: _nsga(c, s, front=True),
        front=True,
    ),
    Entry(name="front: Optuna GP", start=lambda c, s: _Optuna(c, s, _gaussian_process(s), front=True), front=True, trials=30),
    *(_once(*which, front=True) for which in ONCE),
)
"""The same with two objectives, loss and bytes, or asked for one size after another; for hypervolume alone."""
