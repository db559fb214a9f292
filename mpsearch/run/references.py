"""The references of the winner: the best uniform allocation, and the float network trained for the same epochs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from mpsearch.core.record import Record, Trial
from mpsearch.run.artifact import Retrained, retrained_once
from mpsearch.run.ledger import Ledger
from mpsearch.run.retraining import Retraining, retrain_allocation, retrain_float, train_halfway
from mpsearch.run.setup import Setup
from mpsearch.study.settings import search_settings
from mpsearch.training.checkpoint import load_state, save_state
from mpsearch.trials.climb import Rung, best_record, evaluate_trial, trial_seed
from mpsearch.trials.uniform import uniform_candidates

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["Control", "float_control", "spent_reference", "uniform_reference"]

_UNIFORM = "uniform.json"
_UNIFORM_SPENT = "uniform_spent.json"
_CANDIDATES = "uniform_candidates.json"
_CONTROL = "control.json"
_CONTROL_STATE = "control.pt"


Spend = Callable[[Trial], Trial]


@dataclass(frozen=True, kw_only=True)
class Control:
    """The float control: its record and the network."""

    record: Record
    model: nn.Module


def uniform_reference(
    config: StudyConfig, setup: Setup, settings: Retraining, ledger: Ledger, searched: Retrained | None = None
) -> Retrained | None:
    """The best uniform allocation that fits, retrained like the winner; None if none fits or the study asks for none.

    Several candidates are compared on validation half-way through that training, and only the best is trained to the end; where they would
    be compared on samples that they are trained on, or there is nothing to halve, after the first rung with training. If the search
    selected the same bits (`searched`), its network is the reference.
    """
    problem = setup.problem
    candidates = uniform_candidates(problem, settings.hyper.method) if config.retrain.uniform else []
    trials = [Trial(number=-1, origin=origin, allocation=allocation) for origin, allocation in candidates]
    best = _best_uniform(config, settings, trials, ledger) if len(trials) > 1 else next(iter(trials), None)
    if best is None:
        return None
    if searched is not None and best.allocation == searched.record.allocation:
        return replace(searched, record=replace(searched.record, number=best.number, origin=best.origin))
    train = partial(retrain_allocation, settings, "uniform", best, begun_as=best.origin)
    return retrained_once(ledger, _UNIFORM, f"uniform{Path(setup.target.file).suffix}", setup, train, settings.made_from(best))


def spent_reference(
    setup: Setup, settings: Retraining, ledger: Ledger, uniform: Retrained | None, searched: Retrained, spend: Spend | None
) -> Retrained | None:
    """The best uniform allocation with what it leaves of the budgets spent, retrained like it; None if nothing can be spent.

    Args:
        setup: network and layers.
        settings: of the training.
        ledger: keeps the result.
        uniform: the best uniform allocation.
        searched: the network that the search selected; if its bits are the same, there is nothing to train.
        spend: spends the rest of the budgets, as for the winner; None without a search.
    """
    if uniform is None or spend is None:
        return None
    trial = spend(uniform.record)
    if trial.allocation in (uniform.record.allocation, searched.record.allocation):
        return None
    name = f"uniform_spent{Path(setup.target.file).suffix}"
    trial = replace(trial, scores={})
    train = partial(retrain_allocation, settings, "uniform, budget spent", trial)
    return retrained_once(ledger, _UNIFORM_SPENT, name, setup, train, settings.made_from(trial))


def _best_uniform(config: StudyConfig, settings: Retraining, trials: Sequence[Trial], ledger: Ledger) -> Trial | None:
    hyper, climbed = settings.hyper, _first_trained(search_settings(config).rungs)
    halfway = hyper.recipe.epochs > 1 and not config.retrain.include_validation
    keys = [trial.allocation.key() for trial in trials]
    made_from = ledger.made_from(settings.made_from(None), keys) if halfway else ledger.made_from(hyper.method, hyper.recipe, climbed, keys)
    records = ledger.read(_CANDIDATES, lambda document: [Record.from_dict(record) for record in document], made_from=made_from) or []
    with settings.progress.phase("uniform candidates", len(trials)) as bar:
        for trial in trials[len(records) :]:
            records.append(train_halfway(settings, trial.origin, trial) if halfway else _climbed(settings, climbed, trial))
            bar.update(len(records))
            ledger.write(_CANDIDATES, [record.to_dict() for record in records], made_from=made_from)
    best = best_record(records)
    if best is None or not halfway:
        return best
    return next(trial for trial in trials if trial.allocation == best.allocation)  # its training has not ended: no score of it counts yet


def _first_trained(rungs: Sequence[Rung]) -> Sequence[Rung]:
    """The rungs up to the first one with training."""
    return rungs[: 1 + next((index for index, rung in enumerate(rungs) if rung.epochs), len(rungs) - 1)]


def _climbed(settings: Retraining, rungs: Sequence[Rung], trial: Trial) -> Record:
    hyper, seed = settings.hyper, trial_seed(settings.evaluator.problem, trial.number)
    return evaluate_trial(settings.evaluator, rungs, hyper, (), trial, lambda: hyper, seed=seed, to_the_top=True)


def float_control(config: StudyConfig, setup: Setup, settings: Retraining, ledger: Ledger) -> Control | None:
    """The float network, trained further for as many epochs with the winner's recipe; None if the study asks for none."""
    if not config.retrain.control or not config.retrain.epochs:
        return None
    problem, state, made_from = setup.problem, ledger.path(_CONTROL_STATE), settings.made_from(None)
    record, model = ledger.read_record(_CONTROL, _CONTROL_STATE, made_from=made_from), copy.deepcopy(problem.model)
    if record is None or not load_state(state, model):
        record, model = retrain_float(settings)
        save_state(state, model.state_dict())
        ledger.write_record(_CONTROL, _CONTROL_STATE, record, made_from=made_from)
    return Control(record=record, model=model)
