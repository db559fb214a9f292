"""What leaves the house: the verified artifact, the figures on the test split, the summary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mpsearch.allocate.program import reachable
from mpsearch.config import dump_bits
from mpsearch.core.errors import ArtifactError
from mpsearch.core.files import write_text
from mpsearch.core.record import Record, Score
from mpsearch.core.summary import Reference, Summary
from mpsearch.core.table import Table
from mpsearch.network.baked import Parts, install
from mpsearch.network.inputs import call, to_device
from mpsearch.run.directory import ARTIFACT, BITS, CARD
from mpsearch.run.experiment import Experiment
from mpsearch.run.retraining import float_bytes
from mpsearch.targets.packed.artifact import read_artifact, write_artifact
from mpsearch.targets.packed.layout import spell_format
from mpsearch.training.evaluate import evaluate
from mpsearch.trials.evaluator import Evaluator

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["export", "read_test_split", "summarise"]


def export(experiment: Experiment, parts: Parts, directory: Path, expected: float) -> int:
    """Write the artifact, read it back, and prove that it is the network that was scored.

    Raises:
        ArtifactError: the file has other than the `expected` bytes, or its logits differ.
    """
    problem = experiment.problem
    path = directory / ARTIFACT
    size = write_artifact(path, experiment.blueprint, parts)
    if size != expected:
        raise ArtifactError(f"{path} has {size} bytes but its cost was {expected:.0f}; this is a bug of mpsearch")
    layers = problem.space.layers
    loaded, scored = read_artifact(path).install(problem.model), install(problem.model, layers, parts)
    batch, _ = next(iter(problem.validation.batches(64)))
    with torch.no_grad():
        inputs = to_device(batch, problem.device)
        if not torch.equal(call(loaded, inputs), call(scored, inputs)):
            raise ArtifactError(f"{path}, read back, gives other logits than the network that was scored; this is a bug of mpsearch")
    head = f"# {size} bytes, {parts.allocation.mean_weight_bits(layers):.3f} mean weight bits; edit, then: mpsearch retrain --bits {BITS}\n"
    write_text(directory / BITS, head + dump_bits(parts.allocation))
    return size


def read_test_split(
    experiment: Experiment, evaluator: Evaluator, directory: Path, parts: Parts, uniform: Parts | None, control: torch.nn.Module | None
) -> dict[str, Score]:
    """Read the test split, once, for the final figures."""
    problem, test = experiment.problem, experiment.splits.test
    file = directory / "test.json"
    if file.exists():
        return {name: Score(**score) for name, score in json.loads(file.read_text()).items()}
    if test is None:
        return {}
    scores = {"float": evaluate(problem.model, test, problem.task, device=problem.device), "winner": evaluator.score_parts(parts, test)}
    if uniform is not None:
        scores["uniform"] = evaluator.score_parts(uniform, test)
    if control is not None:
        scores["control"] = evaluate(control, test, problem.task, device=problem.device)
    write_text(file, json.dumps({name: asdict(score) for name, score in scores.items()}))
    return scores


def summarise(
    experiment: Experiment,
    command: str,
    tables: tuple[Table, ...],
    trials: list[Record],
    winner: Record,
    uniform: Record | None,
    control: Record | None,
    test: Mapping[str, Score],
    size: int,
    parts: Parts,
    seconds: Mapping[str, float],
) -> Summary:
    """Everything the report draws."""
    problem, config = experiment.problem, experiment.config
    validation = evaluate(problem.model, problem.validation, problem.task, device=problem.device)
    return Summary(
        name=config.name,
        model=config.model.factory,
        data=experiment.splits.name,
        metric=problem.task.metric_name,
        seed=config.seed,
        effort=config.effort,
        command=command,
        budgets=tuple(problem.budgets),
        layers=problem.space.layers,
        tables=tables,
        reachable={budget.cost: reachable(problem.space, problem.costs[budget.cost]) for budget in problem.budgets},
        reference=Reference(scores={"validation": validation}, costs={"size": float(float_bytes(problem.model))}),
        trials=tuple(trials),
        winner=winner,
        uniform=uniform,
        control=control,
        test=test,
        artifact=ARTIFACT,
        artifact_bytes=size,
        formats="".join(spell_format(parts.layers[name].format) for name in problem.space.names),
        card=CARD,
        seconds=seconds,
        skipped=_skipped(config, winner, uniform),
    )


def _skipped(config: StudyConfig, winner: Record, uniform: Record | None) -> tuple[str, ...]:
    """What a smaller run left out, and training that was thrown away, one sentence each."""
    said = [winner.note] if winner.note else []
    if uniform is not None and uniform.note:
        said.append(f"Best uniform allocation: {uniform.note}")
    if not any(rung.epochs for rung in config.search.climbed):
        how = "by shared weights" if config.search.evaluate == "supernet" else "after calibration only"
        said.append(f"No trial was trained: allocations were compared {how}.")
        if len(config.methods) > 1:
            said.append(f"Methods were not compared, which takes rungs that train: all is {next(iter(config.methods))}, the first of them.")
    if uniform is None and config.retrain.uniform:
        said.append("No uniform allocation fits the budget, so there is none to compare with.")
    if not config.retrain.uniform:
        said.append("The best uniform allocation was not trained, so nothing is said of mixed against uniform bits.")
    if config.retrain.epochs == 0:
        said.append("The winner was not retrained: its figures are after calibration only.")
    if not config.retrain.control:
        said.append("No float control was trained: part of any gain over the float network may be the longer training.")
    return tuple(said)
