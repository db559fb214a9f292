"""Full training of the winner, and alike of the best uniform allocation and of the float control."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import torch

from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import TrainingDiverged
from mpsearch.core.files import write_text
from mpsearch.core.progress import Progress
from mpsearch.core.record import Record
from mpsearch.data.split import Split
from mpsearch.network.baked import Parts, bake
from mpsearch.run.experiment import Experiment
from mpsearch.study.settings import search_settings
from mpsearch.training.checkpoint import Checkpoint
from mpsearch.training.evaluate import evaluate
from mpsearch.trials.climb import Hyperparameters, best_record, climb, costed
from mpsearch.trials.evaluator import Evaluator, with_epochs
from mpsearch.trials.uniform import uniform_candidates

__all__ = ["float_bytes", "retrain_control", "retrain_uniform", "retrained"]


def retrained(
    experiment: Experiment, evaluator: Evaluator, start: Record, hyper: Hyperparameters, directory: Path, name: str, progress: Progress
) -> tuple[Record, Parts]:
    """Full training of one allocation from the float weights: its record and its numbers.

    Training that ends with a larger validation error and loss than calibration alone is not delivered: the calibrated network is, and the
    record says so.
    """
    config = experiment.config
    recipe = with_epochs(hyper.recipe, config.retrain.epochs)
    start = costed(experiment.problem, start, hyper.method)
    network = evaluator.begin(start.allocation, hyper.method)
    started = time.monotonic()
    calibrated = evaluator.ptq(network, hyper.method, recipe)
    calibrated_parts = bake(network)
    if recipe.epochs == 0:
        return _kept(replace(start, rung="full", scores={**start.scores, "full": calibrated}), directory, name), calibrated_parts
    network.begin(start.allocation)

    def score(epoch: int) -> dict[str, float]:
        found = evaluator.score(network)
        return {"metric": found.metric, "validation_loss": found.loss}

    with progress.phase(f"retraining {name}", 1) as bar:
        try:
            curve = evaluator.train(
                network,
                hyper.method,
                recipe,
                seed=config.seed + 1,
                split=_retraining_split(experiment),
                on_step=lambda step, total: bar.update(step, total),
                on_epoch=score,
                checkpoint=Checkpoint(directory / f"{name}.checkpoint"),
            )
        except TrainingDiverged as error:
            raise TrainingDiverged(f"retraining of the {name} failed: {error}") from error
    parts, note = bake(network), ""
    found = evaluator.score_parts(parts)
    if found.error >= calibrated.error and found.loss > calibrated.loss:  # one sample's answer alone may be chance
        note = "Training ended above calibration alone on validation, so the calibrated network is delivered; try a lower lr."
        parts, found = calibrated_parts, calibrated
    record = replace(
        start,
        rung="full",
        scores={**start.scores, "full": found},
        params=hyper.params,
        curve=tuple(curve),
        note=note,
        seconds=time.monotonic() - started,
    )
    return _kept(record, directory, name), parts


def retrain_uniform(
    experiment: Experiment, evaluator: Evaluator, hyper: Hyperparameters, directory: Path, progress: Progress
) -> tuple[Record | None, Parts | None]:
    """The best uniform allocation that fits, by validation after the first training, retrained with the winner's hyperparameters."""
    problem = experiment.problem
    candidates = uniform_candidates(problem, hyper.method) if experiment.config.retrain.uniform else []
    if not candidates:
        return None, None
    file = directory / "uniform_candidates.json"
    records = [Record.from_dict(plain) for plain in json.loads(file.read_text())] if file.exists() else []
    rungs = search_settings(experiment.config).rungs
    first_training = next((index for index, rung in enumerate(rungs) if rung.epochs), len(rungs) - 1)
    with progress.phase("uniform candidates", len(candidates)) as bar:
        for origin, allocation in candidates[len(records) :]:
            blank = Record(number=-1, origin=origin, allocation=allocation, rung="", scores={}, costs={})
            if len(candidates) > 1:
                blank = climb(problem, evaluator, rungs[: first_training + 1], hyper, (), blank, lambda: hyper, to_the_top=True)
            records.append(blank)
            bar.update(len(records))
            write_text(file, json.dumps([record.to_dict() for record in records]))
    best = best_record(records) if len(records) > 1 else records[0]
    if best is None:
        return None, None
    return retrained(experiment, evaluator, best, hyper, directory, "uniform", progress)


def retrain_control(
    experiment: Experiment, evaluator: Evaluator, hyper: Hyperparameters, directory: Path, progress: Progress
) -> tuple[Record | None, torch.nn.Module | None]:
    """The float network trained as many epochs more with the same recipe."""
    config, problem = experiment.config, experiment.problem
    if not config.retrain.control or not config.retrain.epochs:
        return None, None
    with progress.phase("float control", 1) as bar:
        model, curve = evaluator.control(
            with_epochs(hyper.recipe, config.retrain.epochs),
            seed=config.seed + 1,
            split=_retraining_split(experiment),
            on_step=lambda step, total: bar.update(step, total),
            checkpoint=Checkpoint(directory / "control.checkpoint"),
        )
    score = evaluate(model, problem.validation, problem.task, device=problem.device)
    costs = {"size": float(float_bytes(problem.model))}
    record = Record(
        number=-1,
        origin="float control",
        allocation=Allocation({}),
        rung="full",
        scores={"full": score},
        costs=costs,
        params=hyper.params,
        curve=tuple(curve),
    )
    write_text(directory / "control.json", json.dumps(record.to_dict()))
    return record, model


def _retraining_split(experiment: Experiment) -> Split:
    """Once everything is chosen, validation data may train too."""
    splits = experiment.splits
    return splits.train_and_validation() if experiment.config.retrain.include_validation else splits.train


def _kept(record: Record, directory: Path, name: str) -> Record:
    write_text(directory / f"{name}.json", json.dumps(record.to_dict()))
    return record


def float_bytes(model: torch.nn.Module) -> int:
    """Bytes of all float32 parameters and buffers."""
    return sum(4 * tensor.numel() for name, tensor in model.state_dict().items() if not name.endswith("num_batches_tracked"))
