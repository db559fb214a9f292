"""The pipeline, top to bottom; each stage leaves its result in the run directory before the next begins."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mpsearch.allocate.solve import Solution, solve
from mpsearch.card.fill import build_card
from mpsearch.card.inputs import CardInputs
from mpsearch.card.markdown import card_markdown
from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import ArtifactError, BudgetError, MpsearchError, RunDirectoryError
from mpsearch.core.files import write_bytes, write_text
from mpsearch.core.pass_counts import LabelReader, count, phase
from mpsearch.core.progress import Progress, Silent
from mpsearch.core.record import Record, Score
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.summary import Summary, table_from_dict, table_to_dict
from mpsearch.core.table import Table
from mpsearch.network.baked import Parts
from mpsearch.network.inputs import to_device
from mpsearch.propose.learned_allocations import affordable_bits, learned_allocations
from mpsearch.run.delivery import export, read_test_split, summarise
from mpsearch.run.directory import ARTIFACT, CARD, CARD_FIELDS, Clock, claimed
from mpsearch.run.experiment import Experiment, build_evaluator, build_experiment, ranges_of
from mpsearch.run.mixing import combined, heard, plain_and_combining
from mpsearch.run.retraining import retrain_control, retrain_uniform, retrained
from mpsearch.signals import compute_signal
from mpsearch.signals.base import SignalInputs
from mpsearch.study.settings import hyperparameters_of, search_settings
from mpsearch.study.study import run_trials
from mpsearch.study.study_sampler import bits_sampler, prediction_quality, with_budget_spent
from mpsearch.targets.packed.artifact import read_artifact
from mpsearch.training.compiled import Compiler
from mpsearch.training.evaluate import evaluate
from mpsearch.trials.climb import Hyperparameters, best_record, costed
from mpsearch.trials.problem import Problem
from mpsearch.trials.supernet import SupernetEvaluator

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from rich.console import Console

    from mpsearch.config import StudyConfig

__all__ = ["allocate", "evaluate_artifact", "export_run", "finished", "retrain", "run", "run_study", "sensitivities"]


def run_study(config: StudyConfig, directory: Path, command: str, console: Console) -> Summary:
    """What `mpsearch study` does."""
    progress = _rich(console)
    with claimed(directory, config, command):
        return finished(directory) or run(build_experiment(config, progress), directory, command, progress)


def retrain(config: StudyConfig, allocation: Allocation, directory: Path, command: str, console: Console) -> Summary:
    """Train, export and report one given allocation; no search."""
    progress = _rich(console)
    with claimed(directory, config, command, extra=allocation.key()):
        return finished(directory) or run(
            build_experiment(config, progress, check_limits=False), directory, command, progress, allocation=allocation
        )


def sensitivities(config: StudyConfig, progress: Progress | None = None) -> tuple[ResolvedSpace, tuple[Table, ...]]:
    """The signals alone."""
    experiment = build_experiment(config, progress or Silent(), check_limits=False)
    return experiment.problem.space, _signals(experiment, None, progress or Silent())


def allocate(config: StudyConfig, progress: Progress | None = None) -> tuple[ResolvedSpace, dict[str, Table], Solution]:
    """The first signal's optimal bits under the budgets; no training of allocations."""
    experiment = build_experiment(config, progress or Silent())
    problem = experiment.problem
    table = _signals(experiment, None, progress or Silent(), only_first=True)[0]
    return problem.space, dict(problem.costs), solve(problem.space, table, problem.costs, problem.budgets)


def run(
    experiment: Experiment,
    directory: Path,
    command: str,
    progress: Progress,
    allocation: Allocation | None = None,
    sampler: BaseSampler | None = None,
) -> Summary:
    """Run, or go on with, an experiment in a run directory.

    Args:
        experiment: what is searched.
        directory: of the run.
        command: for the report.
        progress: bars and words.
        allocation: train this one, and search nothing.
        sampler: proposes instead of the study's own, which still spends what the best leaves of the budgets.
    """
    if allocation is not None:  # nothing is searched, so no weights are trained to be shared
        experiment = replace(experiment, config=_without_supernet(experiment.config))
    problem, config = experiment.problem, experiment.config
    clock = Clock(directory)
    settings = search_settings(config)
    compiler = Compiler(config.compile, problem.device, _steps_to_come(experiment))
    evaluator = build_evaluator(experiment, compiler, directory, progress)
    tables: tuple[Table, ...] = ()
    trials: list[Record] = []
    trust: Mapping[str, float] = {}
    if allocation is None:
        with clock("signals"):
            tables = _signals(experiment, directory / "tables.json", progress)
        if isinstance(evaluator, SupernetEvaluator):
            with clock("supernet"):
                evaluator.prepare()
        with clock("study"):
            starts = _starts(problem, tables, directory / "starts.json")
            own = bits_sampler(
                problem,
                heard(tables),
                config.search.sweep,
                starts=starts,
                stopping=settings.stopping,
                refine=config.search.refine,
                rungs=settings.rungs,
            )
            trials = run_trials(problem, evaluator, sampler or own, settings, directory / "study.db", progress)
            trust = prediction_quality(own, trials) if sampler is None else {}
        best = best_record(trials)
        if best is None:
            raise MpsearchError(_why_none(trials))
        best = with_budget_spent(own, best, trials, problem.costs_of(hyperparameters_of(config, best.params).method))
    else:
        chosen = problem.space.check(allocation)
        given = Record(number=-1, origin="given", allocation=chosen, rung="", scores={}, costs={})
        best = costed(problem, given, settings.default.method)
        if not best.feasible:
            raise BudgetError(
                f"the allocation takes {best.costs['size']:,.0f} B, above the budget {', '.join(map(str, problem.budgets))}; take bits away"
            )
    hyper = hyperparameters_of(config, best.params)
    with clock("retraining"):
        winner, parts = retrained(experiment, evaluator, best, hyper, directory, "winner", progress)
        with phase("references"):
            uniform, uniform_parts = retrain_uniform(experiment, evaluator, hyper, directory, progress)
            control, control_model = retrain_control(experiment, evaluator, hyper, directory, progress)
    size = export(experiment, parts, directory, winner.costs["size"])
    with clock("test"):
        test = read_test_split(experiment, evaluator, directory, parts, uniform_parts, control_model)
    summary = summarise(experiment, command, tables, trials, winner, uniform, control, test, size, parts, clock.seconds)
    summary = replace(summary, surrogate=trust)
    with progress.phase("card", 1), clock("card"):
        summary = _with_card(experiment, summary, parts, hyper, directory, progress)
    write_text(directory / "summary.json", json.dumps(summary.to_dict()))
    from mpsearch.report.page import write_page

    write_page(summary, directory / "front.html")
    _tidy(directory)
    return summary


def _tidy(directory: Path) -> None:
    """Checkpoints, whole and half-written, are of no use once all is done."""
    for pattern in ("*.checkpoint", ".*.checkpoint.*"):
        for leftover in directory.glob(pattern):
            leftover.unlink()


def _without_supernet(config: StudyConfig) -> StudyConfig:
    search = config.search.model_copy(update={"evaluate": "qat"}) if config.search.evaluate == "supernet" else config.search
    return config.model_copy(update={"search": search})


def _with_card(
    experiment: Experiment, summary: Summary, parts: Parts, hyper: Hyperparameters, directory: Path, progress: Progress
) -> Summary:
    try:
        card = build_card(_card_inputs(experiment, directory), summary, parts, hyper)
        write_text(directory / CARD_FIELDS, card.to_json())
        write_text(directory / CARD, card_markdown(card))
    except Exception as error:  # the network is trained, verified and delivered; a card that cannot be filled must not take it away
        progress.say(f"there is no quantization card: {type(error).__name__}: {error}")
        return replace(summary, card="")
    for check in card.provenance.failed_checks:
        progress.say(f"the quantization card fails: {check}")
    return summary


def _card_inputs(experiment: Experiment, directory: Path) -> CardInputs:
    problem, other = experiment.problem, experiment.other_model
    return CardInputs(
        config=experiment.config,
        splits=experiment.splits,
        problem=problem,
        other=None if other is None else replace(problem, model=other, calibration=ranges_of(experiment, other)),
        claim=json.loads((directory / "run.json").read_text())["fingerprint"],
    )


def finished(directory: Path) -> Summary | None:
    """The summary of a run that is done; its page is drawn again."""
    file = directory / "summary.json"
    if not file.exists():
        return None
    from mpsearch.report.page import write_page

    summary = Summary.from_dict(json.loads(file.read_text()))
    write_page(summary, directory / "front.html")
    _tidy(directory)
    return summary


def export_run(run_dir: Path, out: Path) -> list[Path]:
    """Copy the artifact of a finished run, checked, and its card: `net.card.json` and `net.card.md` beside `net.safetensors`.

    Returns:
        What was written, the artifact first; without the card where the run has none.

    Raises:
        RunDirectoryError: the folder holds no finished run.
    """
    if not (run_dir / ARTIFACT).is_file():
        raise RunDirectoryError(
            f"{run_dir} holds no finished run (there is no {ARTIFACT}); run 'mpsearch study' with --run-dir {run_dir} first"
        )
    read_artifact(run_dir / ARTIFACT)
    write_bytes(out, (run_dir / ARTIFACT).read_bytes())
    written = [out]
    for name in (CARD, CARD_FIELDS):
        beside = out.with_name(f"{out.stem}.{name}")
        if (run_dir / name).is_file():
            write_text(beside, (run_dir / name).read_text())
            written.append(beside)
        else:
            beside.unlink(missing_ok=True)  # of what was exported here before, it would belong to another network
    return written


def evaluate_artifact(path: Path, config: StudyConfig, split: str) -> Score:
    """Score of a file on a split of the study's data.

    Raises:
        ArtifactError: the file cannot be read or does not fit.
    """
    from mpsearch.data import load_data
    from mpsearch.models import build_model, is_registered
    from mpsearch.run.experiment import pick_device

    artifact = read_artifact(path)
    device = pick_device(config.device)
    # Only a registered name is built as the file says; a factory of somebody's own must come from the study, never from the file.
    reference, options = (
        (artifact.model, artifact.options) if is_registered(artifact.model) else (config.model.factory, config.model.options)
    )
    model = artifact.install(build_model(reference, **dict(options)).to(device))
    splits = load_data(config.data.reference, seed=config.seed, **config.data.options)
    data = getattr(splits, split)
    if data is None:
        raise ArtifactError(f"the data '{splits.name}' have no {split} split; ask for --split validation")
    return evaluate(model, data, splits.task, device=device)


def _signals(experiment: Experiment, file: Path | None, progress: Progress, *, only_first: bool = False) -> tuple[Table, ...]:
    """Compute the signals, or read those an earlier run left; those that combine others come first."""
    stored = {} if file is None or not file.exists() else json.loads(file.read_text())
    config, problem = experiment.config, experiment.problem
    tables: list[Table] = []
    images = problem.train.take(min(config.signals.images, len(problem.train)), config.seed)
    names, combining = plain_and_combining(config.signals.names)
    for name in names[: 1 if only_first and not combining else None]:
        if name not in stored:
            batches = [
                (to_device(inputs, problem.device), targets.to(problem.device))
                for inputs, targets in images.batches(config.signals.batch_size)
            ]
            labels = LabelReader(problem.task.loss)
            with progress.phase(f"signal {name}", 1) as bar:
                table = compute_signal(
                    name,
                    SignalInputs(
                        model=problem.model,
                        space=problem.space,
                        calibration=problem.calibration,
                        batches=batches,
                        task=replace(problem.task, loss=labels),
                        seed=config.seed,
                        progress=lambda done, total: bar.update(done, total),
                        target_bits=affordable_bits(problem.space, problem.costs, problem.budgets),
                    ),
                )
            table = replace(table, cost={**table.cost, "labels": float(labels.read)})
            count(backward=round(table.cost.get("backwards", 0.0) * table.cost.get("images", 0.0)))
            stored[name] = table_to_dict(table)
            if file is not None:
                write_text(file, json.dumps(stored))
        tables.append(table_from_dict(stored[name]))
    for name in combining:
        tables = combined(name, experiment, tables, None if file is None else file.with_name("measured.json"), progress) + tables
    return tuple(tables)


def _starts(problem: Problem, tables: Sequence[Table], file: Path) -> list[tuple[str, Allocation]]:
    """What the signals' trainings have learned, brought under the budgets, or what an earlier run left of it."""
    if not file.exists():
        write_text(
            file,
            json.dumps(
                [[origin, start.to_dict()] for origin, start in learned_allocations(problem.space, problem.costs, problem.budgets, tables)]
            ),
        )
    return [(origin, Allocation.from_dict(start)) for origin, start in json.loads(file.read_text())]


def _steps_to_come(experiment: Experiment) -> int:
    """Training steps of the whole run, by estimate: half the trials enter the first training rung."""
    config = experiment.config
    trained = sum(rung.epochs for rung in config.search.climbed)
    epochs = config.search.trials * trained * 0.5 + 2 * config.retrain.epochs
    return int(epochs * experiment.splits.train.steps(config.recipe.build().batch_size))


def _why_none(trials: Sequence[Record]) -> str:
    failed = next((record.note for record in trials if record.feasible and record.note), "")
    if failed:
        return f"every trial failed ({failed}); lower the learning rate (recipe.lr) or look at the data"
    return (
        "no trial was within the budget; raise it, widen the space, or leave the proposals to mpsearch's own sampler, "
        "each of them in another run directory"
    )


def _rich(console: Console) -> Progress:
    from mpsearch.report.progress import RichProgress

    return RichProgress(console)
