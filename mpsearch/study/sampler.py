"""`BitsSampler`: the searcher as an Optuna sampler, also for custom objectives.

```python
sampler = BitsSampler(space, tables, costs, budgets)
study = optuna.create_study(sampler=sampler)
study.optimize(lambda trial: loss_of(sampler.suggest(trial)), n_trials=50)
best = sampler.allocation(study.best_trial.params)
```

The bits of each group of tied layers are one categorical parameter, `bits/<first layer>`; together they meet every budget by
construction. Another sampler, by default TPE, draws all other parameters of the objective (a method, a learning rate) in the same trial.
Trials that hold their bits in one attribute instead (`records.py`), as those of `run_trials`, count alike.
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
from mpsearch.study.bits_text import read_bits
from mpsearch.study.records import BITS

if TYPE_CHECKING:
    from optuna.study import Study

__all__ = ["BitsSampler", "allocation_of_params", "bits_space", "suggest_bits"]

_TrialKey = tuple[str, int]
"""Study and number of a trial, since one sampler can serve several studies."""

_MAX_AHEAD = 8
"""Maximum number of earlier trials without known bits to anticipate; more of them are trials of dead workers."""
_CLAIM = "mpsearch:bits"
"""System attribute with a trial's bits, visible to other processes before its parameters are stored."""
_ATTEMPTS = 4
"""Maximum number of attempts if another process proposes the same bits."""


def bits_space(space: ResolvedSpace) -> dict[str, CategoricalDistribution]:
    """Parameter `bits/<first layer of the group>` → menu, spelled like `w4a8`."""
    return {
        f"bits/{space.names[group[0]]}": CategoricalDistribution([str(choice) for choice in space.menus[group[0]]])
        for group in space.groups
    }


def suggest_bits(trial: optuna.trial.BaseTrial, space: ResolvedSpace) -> Allocation:
    """The allocation that a trial draws with the sampler of its study."""
    return allocation_of_params(
        space, {name: trial.suggest_categorical(name, list(menu.choices)) for name, menu in bits_space(space).items()}
    )


def allocation_of_params(space: ResolvedSpace, params: Mapping[str, Any]) -> Allocation:
    """The allocation in a trial's parameters.

    Raises:
        KeyError: a group without its parameter.
    """
    choice_of = {index: Choice.parse(params[name]) for name, group in zip(bits_space(space), space.groups, strict=True) for index in group}
    return Allocation({name: choice_of[index] for index, name in enumerate(space.names)})


def _first_value(trial: FrozenTrial) -> Mapping[str, float]:
    return {"value": float(trial.values[0])} if trial.state == TrialState.COMPLETE else {}


def _tpe(seed: int) -> BaseSampler:
    return TPESampler(seed=seed)


def _no_errors(_: FrozenTrial) -> Mapping[str, float]:
    return {}


def _never(_: object) -> bool:
    return False


class BitsSampler(BaseSampler):
    """Proposes allocations within every budget (with `sweep`: its largest factor times each), normally without repetition; see `Searcher`.

    Trials can run in parallel, in threads or in processes that share a storage: running trials count with their predicted loss, and no two
    trials get the same bits. A proposal depends only on the seed, the finished and the running trials, so a resumed study makes the same
    proposals. `optimize` stops when every allocation within the budgets was evaluated; later trials are pruned.

    Args:
        space: layers, menus, ties.
        tables: signals; may be empty.
        costs: tables by name, at least those of the budgets.
        budgets: limits that must all hold.
        seed: seed of all random draws.
        sweep: (smallest, largest) factor on every budget for the Pareto front; the interval contains 1.
        initial: (origin, allocation) of further initial proposals, such as learned allocations.
        others: seed → sampler that draws all other parameters independently; `TPESampler(seed=…)` by default.
        losses: finished trial → loss by rung, shallow to deep; empty if it failed, None to ignore it; by default the first value.
        errors: finished trial → validation error by rung, for a searcher that reads it.
        searcher: proposes the bits, in place of a `Searcher` made of what stands above.
        refine: number of earlier trials → whether the next trial swaps bits of the best allocation.
        again: finished trials → whether allocations that stopped at the first of several rungs may be proposed once more, to be promoted.

    Raises:
        ValueError: the sweep does not contain 1.
        SpaceError: an initial allocation has a layer or a choice that the space does not have.
        BudgetError: no allocation meets the budgets, or an initial allocation does not; from `study.ask`: all that do were evaluated.
        ConfigError: the study maximises; raised at the first proposal.
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
        errors: Callable[[FrozenTrial], Mapping[str, float]] = _no_errors,
        searcher: Searcher | None = None,
        refine: Callable[[int], bool] = _never,
        again: Callable[[Sequence[Observation]], bool] = _never,
    ) -> None:
        self.searcher = searcher or Searcher(space, tables, costs, budgets, seed=seed, sweep=sweep, initial=initial)
        self._space = space
        self._bits = bits_space(space)
        self._seed = seed
        self._others = others or _tpe
        self._losses = losses
        self._errors = errors
        self.refines = refine
        self._again = again
        self._proposals: dict[_TrialKey, Proposal] = {}
        self._samplers: dict[_TrialKey, BaseSampler] = {}
        self._allocations: dict[_TrialKey, Allocation] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({**state, "_lock": threading.Lock()})

    def suggest(self, trial: optuna.trial.Trial) -> Allocation:
        """The allocation of a trial; its origin is stored as the trial's attribute `origin`."""
        allocation = suggest_bits(trial, self._space)
        if (proposal := self.proposal(trial)) is not None:
            trial.set_user_attr("origin", proposal.origin)
        return allocation

    def proposal(self, trial: optuna.trial.Trial) -> Proposal | None:
        """The proposal of a trial; None if it is not from this sampler."""
        return self._proposals.get((trial.study.study_name, trial.number))

    def allocation(self, params: Mapping[str, Any]) -> Allocation:
        """The allocation in a trial's parameters."""
        return allocation_of_params(self._space, params)

    def propose(self, study: Study) -> Proposal:
        """The bits of a trial that is yet to begin, given all that have.

        Raises:
            BudgetError: every allocation within the budgets was evaluated.
        """
        with self._lock:
            observations, pending, _ = self._known(study, None)
            return self._propose(observations, pending)

    def forget(self, study: Study, number: int) -> None:
        """Release what is held for a trial that has ended, where it was not told by Optuna."""
        self._samplers.pop((study.study_name, number), None)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters of the bits, which are sampled jointly."""
        return dict(self._bits)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """Bits of one allocation; empty if the trial has them, or if all were evaluated and a running `optimize` can be stopped.

        Raises:
            BudgetError: every allocation within the budgets was evaluated.
            ConfigError: the study maximises.
        """
        if study.directions[0] == StudyDirection.MAXIMIZE:
            raise ConfigError("BitsSampler: the first objective is a loss; create the study with direction='minimize' and return the loss")
        if BITS in trial.user_attrs:
            return {}
        try:
            return self._new_bits(study, trial)
        except BudgetError:
            if not _stop(study):
                raise
            return {}

    def _new_bits(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        with self._lock:
            for _ in range(_ATTEMPTS):
                observations, pending, ahead = self._known(study, trial.number)
                # Concurrent trials with smaller numbers have no bits yet: anticipate their proposals.
                for _ in range(min(ahead, _MAX_AHEAD)):
                    pending.append(self._propose(observations, pending).allocation)
                proposal = self._proposals[study.study_name, trial.number] = self._propose(observations, pending)
                params = self._params(proposal.allocation)
                study._storage.set_trial_system_attr(trial._trial_id, _CLAIM, params)
                if not self._taken(study, trial, params):
                    break
        return params

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        """All parameters except bits, by a new sampler per trial, so that a resumed study draws the same values."""
        if param_name in self._bits:
            raise optuna.TrialPruned("every allocation within the budgets was evaluated")
        key = (study.study_name, trial.number)
        if key not in self._samplers:
            observations, pending, ahead = self._known(study, trial.number)
            self._samplers[key] = self._others(self._seed * 1_000_003 + len(observations) + len(pending) + ahead)
        return self._samplers[key].sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Stop `optimize` when every allocation was evaluated, without an error."""
        self._samplers.pop((study.study_name, trial.number), None)
        observations, pending, ahead = self._known(study, trial.number)
        seen = [*(observation.allocation for observation in observations), *pending]
        if self._has_bits(trial):
            seen.append(self._allocation(study, trial))
        if not ahead and not self.searcher.left(seen, observations):
            _stop(study)  # with `ask` and `tell`, the next proposal raises instead

    def _propose(self, observations: Sequence[Observation], pending: Sequence[Allocation]) -> Proposal:
        number = len(observations) + len(pending)
        return self.searcher.propose(observations, pending, refine=self.refines(number), again=self._again(observations))

    def _params(self, allocation: Allocation) -> dict[str, str]:
        return {name: str(allocation[self._space.names[group[0]]]) for name, group in zip(self._bits, self._space.groups, strict=True)}

    def _taken(self, study: Study, trial: FrozenTrial, params: Mapping[str, str]) -> bool:
        """Whether another process has taken these bits; of two trials that claim them, the earlier one keeps them."""
        for other in study.get_trials(deepcopy=False):
            if other.number == trial.number or (study.study_name, other.number) in self._allocations:  # already known as evaluated
                continue
            has_bits = self._has_bits(other)
            if other.state.is_finished() and (not has_bits or self._losses(other) is None):
                continue
            if not has_bits and _CLAIM not in other.system_attrs:
                continue
            if self._params(self._allocation(study, other)) == params and (has_bits or other.number < trial.number):
                return True
        return False

    def _known(self, study: Study, number: int | None) -> tuple[list[Observation], list[Allocation], int]:
        """(finished trials by number, allocations of running trials, number of earlier trials without bits).

        Args:
            study: all its trials are read.
            number: of the trial that is not counted itself; None for one that is yet to begin, which no earlier one delays.
        """
        observations: list[Observation] = []
        pending: list[Allocation] = []
        ahead = 0
        for other in study.get_trials(deepcopy=False):
            if other.number == number:
                continue
            if other.state.is_finished() and self._has_bits(other):
                losses = self._losses(other)
                if losses is not None:
                    observations.append(Observation(allocation=self._allocation(study, other), losses=losses, errors=self._errors(other)))
            elif other.state == TrialState.RUNNING and (self._has_bits(other) or _CLAIM in other.system_attrs):
                pending.append(self._allocation(study, other))
            elif other.state == TrialState.RUNNING and number is not None and other.number < number:
                ahead += 1
        return observations, pending, ahead

    def _allocation(self, study: Study, trial: FrozenTrial) -> Allocation:
        """The bits of a trial: in its attribute, its parameters, or its claim where it has no parameters yet; kept once it has ended."""
        key = (study.study_name, trial.number)
        if key in self._allocations:
            return self._allocations[key]
        if BITS in trial.user_attrs:
            found = read_bits(trial.user_attrs[BITS], self._space.names)
        else:
            found = self.allocation(trial.params if trial.params.keys() >= self._bits.keys() else trial.system_attrs[_CLAIM])
        if trial.state.is_finished():
            self._allocations[key] = found
        return found

    def _has_bits(self, trial: FrozenTrial) -> bool:
        return BITS in trial.user_attrs or trial.params.keys() >= self._bits.keys()


def _stop(study: Study) -> bool:
    """Stop a running `optimize`; False if trials run by `ask` and `tell`."""
    try:
        study.stop()
    except RuntimeError:
        return False
    return True
