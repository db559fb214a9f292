"""The summary of a finished run: the content of its report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mpsearch.allocate.reach import reachable
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT
from mpsearch.core.promises import Kept
from mpsearch.core.record import Record, Score
from mpsearch.core.summary import Reference, Summary
from mpsearch.core.unquantized import bytes_of, largest_named
from mpsearch.methods import METHODS
from mpsearch.network.baked import Parts
from mpsearch.network.patches import has_patches
from mpsearch.run.delivery import Delivery
from mpsearch.run.directory import CARD
from mpsearch.run.error_bound import bound_of, metric_of, rises
from mpsearch.run.prepare import Prepared
from mpsearch.run.references import Control
from mpsearch.run.retraining import float_bytes
from mpsearch.run.setup import Setup
from mpsearch.run.work import Worked
from mpsearch.training.evaluate import evaluate
from mpsearch.trials.problem import Problem

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["skipped", "summarise", "uncovered"]

_MUCH = 0.1
_NAMED = 3


def summarise(
    config: StudyConfig,
    prepared: Prepared,
    worked: Worked,
    delivery: Delivery,
    references: Mapping[str, Record | None],
    control: Control | None,
    test: Mapping[str, Score],
    command: str,
    seconds: Mapping[str, float],
) -> Summary:
    """The summary of a run, from the results of its stages.

    Args:
        config: the study.
        prepared: network, data and signals.
        worked: trials and the selected allocation.
        delivery: the delivered network, and what it was compared with.
        references: records by the names of fields: `uniform`, `uniform_spent`, `searched`.
        control: the float control, if any.
        test: scores on the test split.
        command: the command line.
        seconds: wall time by phase; a mapping that can still grow.
    """
    problem, splits = prepared.setup.problem, prepared.setup.splits
    validation = evaluate(problem.model, problem.validation, problem.task, device=problem.device, batch=problem.execution.batch)
    winner = delivery.delivered
    return Summary(
        name=config.name,
        model=config.model.factory,
        data=splits.name,
        metric=problem.task.metric_name,
        seed=config.seed,
        effort=config.effort,
        command=command,
        budgets=tuple(problem.budgets),
        layers=problem.space.layers,
        tables=prepared.tables,
        reachable={budget.cost: reachable(problem.space, problem.costs[budget.cost]) for budget in problem.budgets},
        reference=Reference(scores={"validation": validation}, costs={"size": float(float_bytes(problem.model))}),
        trials=worked.records,
        winner=winner.record,
        uniform=references.get("uniform"),
        uniform_spent=references.get("uniform_spent"),
        searched=references.get("searched"),
        noise=delivery.noise,
        comparisons=delivery.comparisons,
        control=None if control is None else control.record,
        test=test,
        artifact=winner.path.name,
        artifact_bytes=prepared.setup.target.deployed_bytes(winner.path),
        place=prepared.setup.target.place,
        formats=tuple(winner.parts.layers[name].weight_format for name in problem.space.names),
        layer_bytes=tuple(_bytes_of(prepared.setup, layer, winner.parts) for layer in problem.space.layers),
        card=CARD,
        seconds=seconds,
        surrogate=worked.surrogate,
        batchnorm=prepared.setup.batchnorm,
        skipped=(
            *skipped(config, winner.record, references.get("uniform"), fixed=all(len(menu) == 1 for menu in problem.space.menus)),
            *uncovered(config, prepared.setup, prepared.setup.target.deployed_bytes(winner.path)),
        ),
        unquantized=problem.space.unquantized,
        kept=_kept(config, validation, problem, worked, winner.record),
    )


def _kept(config: StudyConfig, reference: Score, problem: Problem, worked: Worked, winner: Record) -> Kept | None:
    if config.keep is None:
        return None
    bound = bound_of(config.keep, reference, problem.task.metric_name, len(problem.validation))
    metric = metric_of(bound.error, reference, rises(reference))
    held = bound.holds(winner.score.error)
    return Kept(asked=config.keep.text, cost=bound.cost, metric=metric, verified=worked.kept, held=held)


def _bytes_of(setup: Setup, layer: Layer, parts: Parts) -> int:
    baked = parts.layers[layer.name]
    return setup.writer.layer_bytes(layer, baked.weight_format, FLOAT if baked.input is None else baked.input.format)


def uncovered(config: StudyConfig, setup: Setup, file_bytes: int) -> tuple[str, ...]:
    """What no bits reach, if it is much of the file, what is not counted, and what a method does not compensate; one sentence each."""
    problem, sentences = setup.problem, list(setup.notes)
    groups = problem.space.unquantized
    if bytes_of(groups) > _MUCH * file_bytes:
        sentences.insert(
            0,
            f"{bytes_of(groups):,} B, {bytes_of(groups) / file_bytes:.0%} of the file, stay float whatever the bits; "
            f"the largest: {largest_named(groups)}.",
        )
    if methods := [name for name in config.methods if METHODS[name].compensates]:
        others = [layer.name for layer in problem.space.layers if not has_patches(problem.model, layer)]
        if others:
            named = ", ".join(others[:_NAMED]) + (f" and {len(others) - _NAMED} more" if len(others) > _NAMED else "")
            sentences.append(
                f"{' and '.join(methods)}: only convolutions and linear layers with one weight of their own compensate rounding errors; "
                f"rounded to the nearest: {named}."
            )
    return tuple(sentences)


def skipped(config: StudyConfig, winner: Record, uniform: Record | None, *, fixed: bool = False) -> tuple[str, ...]:
    """Steps that the run left out, and discarded training, one sentence each; `fixed`: every layer had one choice."""
    sentences = [winner.note] if winner.note else []
    if uniform is not None and uniform.note:
        sentences.append(f"Best uniform allocation: {uniform.note}")
    if fixed:
        sentences.append("This space leaves every layer one choice, so nothing was searched: the run is of a single allocation.")
    if not any(rung.epochs for rung in config.search.climbed):
        how = "by shared weights" if config.search.evaluate == "supernet" else "after calibration only"
        sentences.append(f"No trial was trained: allocations were compared {how}.")
        if len(config.methods) > 1:
            sentences.append(
                f"Methods were not compared, which needs rungs with training: all trials use {next(iter(config.methods))}, the first."
            )
    if uniform is None and config.retrain.uniform:
        sentences.append("No uniform allocation fits the budget, so there is none to compare with.")
    if config.retrain.include_validation and uniform is not None:
        sentences.append(
            "Retraining saw the validation images, so the winner was not compared with uniform bits on them before it was delivered."
        )
    if not config.retrain.uniform:
        sentences.append("The best uniform allocation was not trained, so mixed and uniform bits are not compared.")
    if config.retrain.epochs == 0:
        sentences.append("The winner was not retrained: its figures are after calibration only.")
    if not config.retrain.control:
        sentences.append("No float control was trained: part of any gain over the float network may be the longer training.")
    return tuple(sentences)
