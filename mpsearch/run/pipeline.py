"""The pipeline of a run: prepare, work, finish. The same call resumes an interrupted run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mpsearch.core.allocation import Allocation
from mpsearch.core.progress import Progress
from mpsearch.core.summary import Summary
from mpsearch.models import is_registered
from mpsearch.run.announce import Announcer
from mpsearch.run.crew import LEASE, Crew, check_shareable, local_workers, share, shared_files, sharing_of
from mpsearch.run.dashboard import show_result
from mpsearch.run.directory import STORAGE, claim_of, claimed
from mpsearch.run.finish import finish, finished
from mpsearch.run.ledger import Ledger
from mpsearch.run.prepare import Prepared, prepare
from mpsearch.run.setup import Setup, build_setup
from mpsearch.run.statistics import with_statistics
from mpsearch.run.work import given, settled, work
from mpsearch.study.settings import search_settings, trains
from mpsearch.study.storage import only_study, set_aside_if_damaged
from mpsearch.training.checkpoint import Checkpoint
from mpsearch.training.compiled import Compiler
from mpsearch.training.supernet import SupernetRecipe
from mpsearch.trials.evaluator import Evaluator, with_epochs
from mpsearch.trials.problem import Problem
from mpsearch.trials.supernet import SupernetEvaluator

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from mpsearch.config import StudyConfig

__all__ = ["build_evaluator", "compiler_of", "retrain", "run", "run_study", "told_again"]


def run_study(
    config: StudyConfig,
    directory: Path,
    command: str,
    progress: Progress,
    *,
    storage: str | None = None,
    announcer: Announcer | None = None,
    crew: Crew | None = None,
) -> Summary:
    """Search, retrain, export and report: `mpsearch study`.

    Args:
        config: the study.
        directory: run directory.
        command: the command line, for the report.
        progress: gets bars and lines.
        storage: URL of Optuna's storage; by default a file in the run directory.
        announcer: tells callbacks of the run.
        crew: workers that share the study; None: this process has it alone, unless a storage is given.
    """
    announcer = announcer or Announcer()
    if crew is not None:
        check_shareable(config)
    with claimed(directory, config, command, storage=storage):
        ledger = Ledger(directory, progress)
        if is_registered(config.model.factory) and (summary := finished(ledger)) is not None:  # other factories can have been edited
            return told_again(announcer, config, summary, ledger, command)
        set_up = partial(build_setup, config, progress)
        return run(config, set_up, ledger, command, progress, storage=storage, announcer=announcer, crew=crew)


def retrain(
    config: StudyConfig,
    allocation: Allocation,
    directory: Path,
    command: str,
    progress: Progress,
    *,
    announcer: Announcer | None = None,
) -> Summary:
    """Train, export and report a given allocation, without a search: `mpsearch retrain`."""
    announcer = announcer or Announcer()
    with claimed(directory, config, command, extra=allocation.key()):
        ledger = Ledger(directory, progress)
        if is_registered(config.model.factory) and (summary := finished(ledger)) is not None:
            return told_again(announcer, config, summary, ledger, command)
        config = _without_search(config)
        setup = _set_up(ledger, lambda: build_setup(config, progress, check_limits=False))
        if (summary := finished(ledger)) is not None:
            return told_again(announcer, config, summary, ledger, command)
        worked = given(config, setup.problem, allocation)
        setup = with_statistics(config, setup, progress, ledger, references=[("the given bits", worked.trial.allocation)])
        evaluator = build_evaluator(config, setup.problem, compiler_of(config, setup.problem), ledger, progress)
        _dry_run(config, evaluator, ledger)
        with announcer.telling(ledger, config, command, setup.problem.task.metric_name):
            return finish(config, Prepared(setup=setup), worked, evaluator, ledger, command, progress, announcer)


def run(
    config: StudyConfig,
    set_up: Callable[[], Setup],
    ledger: Ledger,
    command: str,
    progress: Progress,
    *,
    storage: str | None = None,
    sampler: BaseSampler | None = None,
    announcer: Announcer | None = None,
    crew: Crew | None = None,
) -> Summary:
    """Start or resume a run in a directory that this process has claimed.

    Args:
        config: the study.
        set_up: returns its network, data and search problem.
        ledger: of the run directory.
        command: the command line, for the report.
        progress: gets bars and lines.
        storage: URL of Optuna's storage; by default a file in the run directory.
        sampler: Optuna sampler in place of `BitsSampler`.
        announcer: tells callbacks of the run.
        crew: workers that share the study; where a storage is given, others may be at work on it even if None.
    """
    announcer = announcer or Announcer()
    setup = _set_up(ledger, set_up)
    if (summary := finished(ledger)) is not None:
        return told_again(announcer, config, summary, ledger, command)
    setup = with_statistics(config, setup, progress, ledger)
    evaluator = build_evaluator(config, setup.problem, compiler_of(config, setup.problem), ledger, progress)
    _dry_run(config, evaluator, ledger)
    prepared = prepare(config, setup, ledger, progress)
    if storage is None:
        set_aside_if_damaged(ledger.path(STORAGE), ledger.say)
    url = storage or f"sqlite:///{ledger.path(STORAGE)}"
    # A run that was begun when every study of a directory had one name goes on with that one.
    own = only_study(ledger.path(STORAGE)) or config.run_name
    name = own if storage is None else f"{config.name}-{claim_of(ledger.directory)}"
    sharing = None
    if storage is not None or crew is not None:
        store = None if crew is None else shared_files(ledger, crew)
        sharing = sharing_of(ledger.directory, LEASE if crew is None else crew.lease, store)
    with announcer.telling(ledger, config, command, setup.problem.task.metric_name):
        with ExitStack() as others:
            if crew is not None:
                share(config, setup, ledger, crew, url, name)
                others.enter_context(local_workers(config, ledger, crew, url, name, progress))
            worked = work(
                config, prepared, evaluator, ledger, progress, storage=url, name=name, sampler=sampler, announcer=announcer, sharing=sharing
            )
        summary = finish(config, settled(config, prepared, worked), worked, evaluator, ledger, command, progress, announcer)
        show_result(url, name, summary, progress)
        return summary


def told_again(announcer: Announcer, config: StudyConfig, summary: Summary, ledger: Ledger, command: str) -> Summary:
    """The summary of a run that had ended, after telling callbacks what they have not been told."""
    with announcer.telling(ledger, config, command, summary.metric):
        announcer.end(summary)
    return summary


def _set_up(ledger: Ledger, set_up: Callable[[], Setup]) -> Setup:
    with ledger.clock("preparation"):
        setup = set_up()
    ledger.identify(setup.identity)
    return setup


def _dry_run(config: StudyConfig, evaluator: Evaluator, ledger: Ledger) -> None:
    """Train and score a quantized network on a few samples, before anything expensive."""
    default, space = search_settings(config).default, evaluator.problem.space
    lowest = Allocation({name: min(menu) for name, menu in zip(space.names, space.menus, strict=True)})
    with ledger.clock("preparation"):
        evaluator.dry_run(lowest, default.method, with_epochs(default.recipe, int(trains(config))))


def build_evaluator(config: StudyConfig, problem: Problem, compiler: Compiler, ledger: Ledger, progress: Progress) -> Evaluator:
    """The evaluator of all stages of a run, as `search.evaluate` selects; shared weights are stored in the run directory."""
    search, default = config.search, search_settings(config).default
    if search.evaluate != "supernet":
        return Evaluator(problem, compiler)
    recipe = SupernetRecipe(
        recipe=with_epochs(default.recipe, search.supernet.epochs), draws=search.supernet.draws, images=search.supernet.images
    )
    made_from = ledger.made_from(recipe, default.method)
    checkpoint = Checkpoint(ledger.path("supernet.checkpoint"), made_from=made_from, say=ledger.say)
    return SupernetEvaluator(problem, compiler, recipe, default.method, checkpoint=checkpoint, progress=progress)


def compiler_of(config: StudyConfig, problem: Problem) -> Compiler:
    """A compiler for the estimated number of training steps of the run; half of the trials are assumed to reach a rung with training."""
    trained = sum(rung.epochs for rung in config.search.climbed)
    epochs = config.search.trials * trained * 0.5 + 2 * config.retrain.epochs
    return Compiler(config.compile, problem.device, int(epochs * problem.train.steps(config.recipe.build().batch_size)))


def _without_search(config: StudyConfig) -> StudyConfig:
    """The study without shared weights, and without a metric to keep, which only a search needs."""
    search = config.search.model_copy(update={"evaluate": "qat"}) if config.search.evaluate == "supernet" else config.search
    return config.model_copy(update={"search": search, "keep": None})
