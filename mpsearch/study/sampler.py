"""`BitsSampler`: the searcher as an Optuna sampler, for anybody's own objective.

```python
sampler = BitsSampler(space, tables, costs, budgets)
study = optuna.create_study(sampler=sampler)
study.optimize(lambda trial: loss_of(sampler.suggest(trial)), n_trials=50)
best = sampler.allocation(study.best_trial.params)
```

The bits of each group of tied layers are one categorical parameter, `bits/<first layer>`; together they are inside every budget by
construction. Whatever else the objective asks for (a method, a learning rate) another sampler draws in the same trial, TPE unless told.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.choice import Choice
from mpsearch.core.errors import BudgetError, ConfigError
from mpsearch.core.peak import CostTable
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.propose.observation import Observation, Proposal
from mpsearch.propose.searcher import Searcher

if TYPE_CHECKING:
    from optuna.study import Study

__all__ = ["BitsSampler", "allocation_of_params", "bits_space", "suggest_bits"]

_Place = tuple[str, int]
"""Study and number of a trial: one sampler may serve several studies."""

_MOST_AHEAD = 8
"""Trials that began earlier and whose bits are not known yet; more of them are workers that died."""
_CLAIM = "mpsearch:bits"
"""System attribute of a trial: its bits, for other processes to see before its parameters are stored one by one."""
_REVISIONS = 4
"""Times a proposal is thought over because another process had the same one meanwhile."""


def bits_space(space: ResolvedSpace) -> dict[str, CategoricalDistribution]:
    """Parameter `bits/<first layer of the group>` → menu, spelled like `w4a8`."""
    return {
        f"bits/{space.names[group[0]]}": CategoricalDistribution([str(choice) for choice in space.menus[group[0]]])
        for group in space.groups
    }


def suggest_bits(trial: optuna.trial.BaseTrial, space: ResolvedSpace) -> Allocation:
    """The allocation a trial draws, by whatever sampler its study has."""
    return allocation_of_params(
        space, {name: trial.suggest_categorical(name, list(menu.choices)) for name, menu in bits_space(space).items()}
    )


def allocation_of_params(space: ResolvedSpace, params: Mapping[str, Any]) -> Allocation:
    """The allocation in a trial's parameters.

    Raises:
        KeyError: a group without its parameter.
    """
    of_layer = {index: Choice.parse(params[name]) for name, group in zip(bits_space(space), space.groups, strict=True) for index in group}
    return Allocation({name: of_layer[index] for index, name in enumerate(space.names)})


def _first_value(trial: FrozenTrial) -> Mapping[str, float]:
    return {"value": float(trial.values[0])} if trial.state == TrialState.COMPLETE else {}


def _tpe(seed: int) -> BaseSampler:
    return TPESampler(seed=seed)


def _never(_: object) -> bool:
    return False


class BitsSampler(BaseSampler):
    """Proposes allocations inside every budget (with `sweep`: up to its largest factor times each), none of them twice; see `Searcher`.

    Trials may run in parallel, in threads or in processes that share a storage: those under way are believed to come out as predicted, and
    no two get the same. A proposal depends on the seed, the finished trials and those under way alone, so a study that goes on proposes
    what it would have proposed. An `optimize` whose budgets leave nothing untried ends; trials that ask then are pruned.

    Args:
        space: layers, menus, ties.
        tables: signals, may be none.
        costs: tables by name; at least those the budgets limit.
        budgets: all hold.
        seed: of everything random.
        sweep: (least, largest) factor on every budget between which a front is wanted, around 1, the budget itself.
        initial: (origin, allocation) of further allocations to propose first, such as learned ones.
        others: makes the sampler of all other parameters from a seed, which draws each by itself; `TPESampler(seed=…)` unless told.
        losses: finished trial → loss by rung, shallow to deep; empty: it failed; None: it never was; the first value unless told.
        refine: whether the next trial swaps around the best, from the number of trials before it.
        again: whether bits that stopped at the first of several rungs may be proposed once more, to go on, from the finished trials.

    Raises:
        ValueError: a sweep that is not around 1.
        SpaceError: an initial allocation with a layer or a choice that the space does not have.
        BudgetError: no allocation meets the budgets, or an initial allocation does not; from `study.ask`: all that do were tried.
        ConfigError: a study that maximises, when it asks.
    """

    def __init__(
        self,
        space: ResolvedSpace,
        tables: Sequence[Table],
        costs: Mapping[str, CostTable],
        budgets: Sequence[Budget],
        *,
        seed: int = 0,
        sweep: tuple[float, float] = (1.0, 1.0),
        initial: Sequence[tuple[str, Allocation]] = (),
        others: Callable[[int], BaseSampler] | None = None,
        losses: Callable[[FrozenTrial], Mapping[str, float] | None] = _first_value,
        refine: Callable[[int], bool] = _never,
        again: Callable[[Sequence[Observation]], bool] = _never,
    ) -> None:
        self.searcher = Searcher(space, tables, costs, budgets, seed=seed, sweep=sweep, initial=initial)
        self._space = space
        self._bits = bits_space(space)
        self._seed = seed
        self._others = others or _tpe
        self._losses = losses
        self.refines = refine
        self._again = again
        self._proposals: dict[_Place, Proposal] = {}
        self._beside: dict[_Place, BaseSampler] = {}
        self._read: dict[_Place, Allocation] = {}
        self._turn = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_turn": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({**state, "_turn": threading.Lock()})

    def suggest(self, trial: optuna.trial.Trial) -> Allocation:
        """The allocation of a trial of the study this samples for; who proposed it is kept as the trial's `origin`."""
        allocation = suggest_bits(trial, self._space)
        if (proposal := self.proposal(trial)) is not None:
            trial.set_user_attr("origin", proposal.origin)
        return allocation

    def proposal(self, trial: optuna.trial.Trial) -> Proposal | None:
        """What a trial was given, if it was this sampler that gave it."""
        return self._proposals.get((trial.study.study_name, trial.number))

    def allocation(self, params: Mapping[str, Any]) -> Allocation:
        """The allocation in a trial's parameters."""
        return allocation_of_params(self._space, params)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The bits, together."""
        return dict(self._bits)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """Bits of one allocation; none where all were tried and an `optimize` can be told to end.

        Raises:
            BudgetError: every allocation within the budgets was tried.
            ConfigError: the study maximises.
        """
        if study.directions[0] == StudyDirection.MAXIMIZE:
            raise ConfigError("BitsSampler: the first objective is a loss; create the study with direction='minimize' and return the loss")
        try:
            return self._bits_of_one(study, trial)
        except BudgetError:
            if not _ended(study):
                raise
            return {}

    def _bits_of_one(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        with self._turn:
            for _ in range(_REVISIONS):
                observations, pending, ahead = self._known(study, trial)
                # Who asks at the same moment has shown no bits yet, but has a number: what those before draw is thought through.
                for _ in range(min(ahead, _MOST_AHEAD)):
                    pending.append(self._propose(observations, pending).allocation)
                proposal = self._proposals[study.study_name, trial.number] = self._propose(observations, pending)
                params = self._params(proposal.allocation)
                study._storage.set_trial_system_attr(trial._trial_id, _CLAIM, params)
                if not self._taken(study, trial, params):
                    break
        return params

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        """Everything that is not bits; by a fresh sampler a trial, so that a study that goes on draws what it would have drawn."""
        if param_name in self._bits:
            raise optuna.TrialPruned("every allocation within the budgets was tried")
        place = (study.study_name, trial.number)
        if place not in self._beside:
            observations, pending, ahead = self._known(study, trial)
            self._beside[place] = self._others(self._seed * 1_000_003 + len(observations) + len(pending) + ahead)
        return self._beside[place].sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """End an `optimize` that has tried everything: a small space is no error."""
        self._beside.pop((study.study_name, trial.number), None)
        observations, pending, ahead = self._known(study, trial)
        tried = [*(observation.allocation for observation in observations), *pending]
        if self._whole(trial):
            tried.append(self.allocation(trial.params))
        if not ahead and not self.searcher.left(tried):
            _ended(study)  # or, asked and told by hand: the next proposal says it

    def _propose(self, observations: Sequence[Observation], pending: Sequence[Allocation]) -> Proposal:
        number = len(observations) + len(pending)
        return self.searcher.propose(observations, pending, refine=self.refines(number), again=self._again(observations))

    def _params(self, allocation: Allocation) -> dict[str, str]:
        return {name: str(allocation[self._space.names[group[0]]]) for name, group in zip(self._bits, self._space.groups, strict=True)}

    def _taken(self, study: Study, trial: FrozenTrial, params: Mapping[str, str]) -> bool:
        """Whether another process took these bits meanwhile: of two that only claim them, the trial that began first keeps them."""
        for other in study.get_trials(deepcopy=False):
            if other.number == trial.number or (study.study_name, other.number) in self._read:  # what was thought of already
                continue
            whole = self._whole(other)
            if other.state.is_finished() and (not whole or self._losses(other) is None):
                continue
            bits = other.params if whole else other.system_attrs.get(_CLAIM, {})
            if all(bits.get(name) == value for name, value in params.items()) and (whole or other.number < trial.number):
                return True
        return False

    def _known(self, study: Study, trial: FrozenTrial) -> tuple[list[Observation], list[Allocation], int]:
        """Finished trials by number; allocations under way; and how many began before this one and have no bits yet."""
        observations: list[Observation] = []
        pending: list[Allocation] = []
        ahead = 0
        for other in study.get_trials(deepcopy=False):
            if other.number == trial.number:
                continue
            if other.state.is_finished() and self._whole(other):
                losses = self._losses(other)
                if losses is not None:
                    place = (study.study_name, other.number)
                    if place not in self._read:
                        self._read[place] = self.allocation(other.params)
                    observations.append(Observation(allocation=self._read[place], losses=losses))
            elif other.state == TrialState.RUNNING and self._whole(other):
                pending.append(self.allocation(other.params))
            elif other.state == TrialState.RUNNING and _CLAIM in other.system_attrs:
                pending.append(self.allocation(other.system_attrs[_CLAIM]))
            elif other.state == TrialState.RUNNING and other.number < trial.number:
                ahead += 1
        return observations, pending, ahead

    def _whole(self, trial: FrozenTrial) -> bool:
        return trial.params.keys() >= self._bits.keys()


def _ended(study: Study) -> bool:
    """Tell a running `optimize` to begin no more trials; False where trials are asked and told by hand."""
    try:
        study.stop()
    except RuntimeError:
        return False
    return True
