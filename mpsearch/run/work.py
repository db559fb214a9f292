"""The second stage of a run: the trials, stored in Optuna's storage, and the selection of the best allocation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.errors import BudgetError, ConfigError, MpsearchError
from mpsearch.core.progress import Progress
from mpsearch.core.record import Record, Trial
from mpsearch.costs.budgets import format_amount
from mpsearch.propose.observation import observed
from mpsearch.propose.posterior import Posterior
from mpsearch.propose.threshold import Bound
from mpsearch.run.announce import Announcer
from mpsearch.run.error_bound import bound_of, least_kept
from mpsearch.run.ledger import Ledger
from mpsearch.run.prepare import Prepared
from mpsearch.run.sensitivity import prior_tables
from mpsearch.study.leases import Sharing
from mpsearch.study.settings import hyperparameters_of, search_settings
from mpsearch.study.storage import reading_study, storage_errors, study_ended
from mpsearch.study.study import run_trials
from mpsearch.study.study_sampler import bits_sampler, prediction_quality, with_budget_spent
from mpsearch.training.evaluate import evaluate
from mpsearch.trials.climb import Hyperparameters, best_record
from mpsearch.trials.evaluator import Evaluator
from mpsearch.trials.problem import Problem
from mpsearch.trials.supernet import SupernetEvaluator

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from mpsearch.config import StudyConfig

__all__ = ["Worked", "given", "settled", "work"]


@dataclass(frozen=True, kw_only=True)
class Worked:
    """The results of the trials.

    Args:
        trial: the best allocation, with the remaining budget spent, to retrain and deliver; without scores if it was not evaluated itself.
        hyper: method and recipe of the trial.
        records: records of all trials, by number.
        surrogate: prediction quality of the surrogate, see `Summary`.
        spend: trial → the same with the rest of the budgets spent, as for `trial`; None without a search.
        posterior: gives what the surrogate expects after all trials; None without a search.
        kept: whether the trial is the cheapest that was within the bound of `keep`.
    """

    trial: Trial
    hyper: Hyperparameters
    records: tuple[Record, ...] = ()
    surrogate: Mapping[str, float] = field(default_factory=dict)
    spend: Callable[[Trial], Trial] | None = None
    posterior: Callable[[], Posterior] | None = None
    kept: bool = False


def work(
    config: StudyConfig,
    prepared: Prepared,
    evaluator: Evaluator,
    ledger: Ledger,
    progress: Progress,
    *,
    storage: str,
    name: str,
    sampler: BaseSampler | None = None,
    announcer: Announcer | None = None,
    sharing: Sharing | None = None,
) -> Worked:
    """Run the remaining trials, and select the best allocation of all trials.

    Args:
        config: the study.
        prepared: signals and initial allocations.
        evaluator: trains and scores trials.
        ledger: measures the time; stores no result of this stage.
        progress: gets bars and lines.
        storage: URL of Optuna's storage, which stores all results.
        name: name of the study in that storage.
        sampler: Optuna sampler in place of `BitsSampler`, which then only spends the budget that the best trial leaves.
        announcer: is told of every trial.
        sharing: how the study is shared with other workers; None: with none.

    Raises:
        MpsearchError: no trial within the budgets succeeded.
    """
    problem, settings = prepared.setup.problem, search_settings(config)
    bound = _bound(config, problem)
    if bound is not None and sampler is not None:
        raise ConfigError("sampler: only mpsearch's own looks for the cheapest network that keeps a metric; leave out keep or sampler")
    own = bits_sampler(
        problem,
        prior_tables(prepared.tables),
        config.search.sweep,
        initial=prepared.initial,
        stopping=settings.stopping,
        refine=config.search.refine,
        rungs=settings.rungs,
        bound=bound,
    )
    with storage_errors(storage):
        ended = study_ended(storage, name)
    if isinstance(evaluator, SupernetEvaluator) and not ended:
        with ledger.clock("supernet"):
            evaluator.prepare()
    with ledger.clock("study"), storage_errors(storage):
        records = run_trials(
            evaluator,
            sampler or own,
            settings,
            storage,
            progress,
            name=name,
            made_from=ledger.made_from(),
            spent=lambda: ledger.clock.spent("study"),
            told=(announcer or Announcer()).trial,
            sharing=sharing,
        )
        least = None if bound is None else least_kept(records, bound)
        best = least or best_record(records)
        if best is None:
            raise MpsearchError(_why_none(records))
        with reading_study(name):
            hyper = hyperparameters_of(config, best.params)
        spend = partial(with_budget_spent, own, records=records, costs=problem.costs_of(hyper.method))
        trial = best if bound is not None else spend(best)  # the least cost is what was asked for: nothing is left of it
        surrogate = prediction_quality(own, records) if sampler is None else {}
        posterior = partial(Posterior, own.searcher, [observed(record) for record in records])
    return Worked(
        trial=trial,
        hyper=hyper,
        records=tuple(records),
        surrogate=surrogate,
        spend=spend if bound is None else None,
        posterior=posterior,
        kept=least is not None,
    )


def settled(config: StudyConfig, prepared: Prepared, worked: Worked) -> Prepared:
    """Where the cheapest network was looked for: what the search has found becomes the budget on its cost, for references as well."""
    if config.keep is None:
        return prepared
    problem, cost = prepared.setup.problem, config.keep.cost
    amount = problem.costs_of(worked.hyper.method)[cost].total(worked.trial.allocation)
    budgets = [Budget(cost, amount, format_amount(cost, amount)) if each.cost == cost else each for each in problem.budgets]
    return replace(prepared, setup=replace(prepared.setup, problem=replace(problem, budgets=tuple(budgets))))


def _bound(config: StudyConfig, problem: Problem) -> Bound | None:
    if config.keep is None:
        return None
    reference = evaluate(problem.model, problem.validation, problem.task, device=problem.device)
    return bound_of(config.keep, reference, problem.task.metric_name, len(problem.validation))


def given(config: StudyConfig, problem: Problem, allocation: Allocation) -> Worked:
    """A given allocation, in place of trials.

    Raises:
        SpaceError: the allocation has a layer or a choice that the space does not have.
        BudgetError: the allocation exceeds a budget.
    """
    hyper = hyperparameters_of(config, {})
    trial = Trial(number=-1, origin="given", allocation=problem.space.check(allocation))
    if excess := problem.excess(trial.allocation, hyper.method):
        raise BudgetError(f"the allocation takes {excess}; lower its bits")
    return Worked(trial=trial, hyper=hyper)


def _why_none(records: Sequence[Record]) -> str:
    failed = next((record.note for record in records if record.feasible and record.note), "")
    if failed:
        return f"every trial failed ({failed}); lower the learning rate (recipe.lr) or check the data"
    return "no trial was within the budget; raise it, widen the space, or use mpsearch's own sampler, in another run directory"
