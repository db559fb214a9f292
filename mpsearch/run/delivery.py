"""What a run delivers: the network that the search selected, unless one that was trained alike is better on validation by more than noise.

Its rivals are the best uniform allocation, the same with what it leaves of the budget spent, and a trial that scored better than the
selected network ended and takes no more of any cost. All are retrained with one recipe from the float network and fit the budgets. Only the
validation split is read.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mpsearch.core.checked import checked
from mpsearch.core.errors import TrainingDiverged
from mpsearch.core.files import file_digest, replacing
from mpsearch.core.json_data import json_data
from mpsearch.core.record import Record
from mpsearch.core.summary import Comparison
from mpsearch.network.baked import Parts, install
from mpsearch.run.artifact import Retrained, retrained_once
from mpsearch.run.ledger import Ledger
from mpsearch.run.retraining import Retraining, retrain_allocation
from mpsearch.run.setup import Setup
from mpsearch.study.settings import hyperparameters_of
from mpsearch.trials.climb import Hyperparameters
from mpsearch.trials.evaluator import with_epochs
from mpsearch.trials.noise import group_errors, standard_error
from mpsearch.trials.problem import Problem

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["Contender", "Delivery", "better_trial", "deliver", "trial_reference"]

_COMPARED = "delivery.json"
_TRIAL = "trial.json"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A retrained network, with what it was trained by."""

    retrained: Retrained
    hyper: Hyperparameters


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """The delivered network.

    Args:
        delivered: its record, its numbers, and the artifact.
        hyper: method and recipe it was trained by.
        searched: the record of the search's own network, if another one is delivered.
        noise: standard error of the delivered network's validation error; None where the split was trained on.
        comparisons: with every rival.
    """

    delivered: Retrained
    hyper: Hyperparameters
    searched: Record | None = None
    noise: float | None = None
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """Standard error of each contender's validation error, and the comparisons."""

    noise: Mapping[str, float]
    comparisons: tuple[Comparison, ...]


def better_trial(problem: Problem, records: Sequence[Record], searched: Record) -> Record | None:
    """The best trial, at the highest fidelity that any reached, if it scored better than the selected network ended, at no higher cost."""
    fitting = [record for record in records if record.feasible and record.status == "complete"]
    deepest = max((len(record.scores) for record in fitting), default=0)
    costs = {"size", *(budget.cost for budget in problem.budgets)}
    rivals = [
        record
        for record in fitting
        if len(record.scores) == deepest
        and record.allocation != searched.allocation
        and (record.score.error, record.score.loss) < (searched.score.error, searched.score.loss)
        and record.score.error < searched.score.error
        and all(record.costs[cost] <= searched.costs[cost] for cost in costs)
    ]
    return min(rivals, key=lambda record: (record.score.error, record.score.loss, record.number), default=None)


def trial_reference(
    config: StudyConfig, setup: Setup, settings: Retraining, ledger: Ledger, records: Sequence[Record], searched: Record
) -> Contender | None:
    """`better_trial`, retrained with its own hyperparameters; None if there is none, or if its training diverges."""
    found = better_trial(setup.problem, records, searched)
    if found is None:
        return None
    hyper = hyperparameters_of(config, found.params) if found.params else settings.hyper
    hyper = replace(hyper, recipe=with_epochs(hyper.recipe, config.retrain.epochs))
    own = replace(settings, hyper=hyper)
    train = partial(retrain_allocation, own, "trial", found)
    try:
        name = f"trial{Path(setup.target.file).suffix}"
        return Contender(retrained=retrained_once(ledger, _TRIAL, name, setup, train, own.made_from(found)), hyper=hyper)
    except TrainingDiverged as error:
        settings.progress.say(f"trial {found.number}, which scored better than the selected network, is no rival: {error}")
        return None


def deliver(config: StudyConfig, setup: Setup, searched: Contender, rivals: Mapping[str, Contender], ledger: Ledger) -> Delivery:
    """Compare the contenders on validation, and put the artifact of the delivered one in its place.

    Args:
        config: the study.
        setup: network, data, target.
        searched: the network that the search selected.
        rivals: by name, as reports say it.
        ledger: keeps the comparisons.
    """
    path = ledger.path(setup.target.file)
    contenders = {"": searched, **rivals}
    compared = _Compared(noise={}, comparisons=())
    if not config.retrain.include_validation:
        files = [file_digest(contender.retrained.path) for contender in contenders.values()]
        compared = ledger.once(
            _COMPARED,
            lambda: _compare(setup.problem, {name: each.retrained.parts for name, each in contenders.items()}),
            made_from=ledger.made_from(list(contenders), files),
            dump=json_data,
            load=lambda document: checked(_Compared, document),
        )
    chosen = next((each.rival for each in compared.comparisons if each.delivered), "")
    best = contenders[chosen]
    if file_digest(path) != file_digest(best.retrained.path):
        if path.exists():
            ledger.say(f"{path.name} is gone or was damaged; it is made again")
        with replacing(path) as temporary:
            shutil.copyfile(best.retrained.path, temporary)
    return Delivery(
        delivered=replace(best.retrained, path=path),
        hyper=best.hyper,
        searched=searched.retrained.record if chosen else None,
        noise=compared.noise.get(chosen),
        comparisons=compared.comparisons,
    )


def _compare(problem: Problem, contenders: Mapping[str, Parts]) -> _Compared:
    errors = {
        name: group_errors(
            install(problem.model, problem.space.layers, parts),
            problem.validation,
            problem.task,
            device=problem.device,
            batch=problem.execution.batch,
        )
        for name, parts in contenders.items()
    }
    found = []
    for name in contenders:
        if name:
            gain = errors[""] - errors[name]
            found.append(Comparison(rival=name, gain=float(gain.mean()), noise=min(standard_error(gain), _LARGEST)))
    better = [each for each in found if each.gain > each.noise]
    best = max(better, key=lambda each: each.gain, default=None)
    return _Compared(
        noise={name: min(standard_error(each), _LARGEST) for name, each in errors.items()},
        comparisons=tuple(replace(each, delivered=each is best) for each in found),
    )


_LARGEST = 1e30
"""Stands for the unknown noise of a single group."""
