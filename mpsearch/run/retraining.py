"""Full training of the selected allocation and of its references."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import TrainingDiverged
from mpsearch.core.progress import Progress
from mpsearch.core.record import Record, Score, Trial
from mpsearch.data.fingerprint import fingerprint_of
from mpsearch.data.split import Split
from mpsearch.network.baked import Parts, bake
from mpsearch.network.network import Network
from mpsearch.network.state import distinct_state
from mpsearch.run.announce import Announcer
from mpsearch.run.ledger import Ledger
from mpsearch.training.checkpoint import Checkpoint
from mpsearch.training.evaluate import evaluate
from mpsearch.trials.climb import Hyperparameters
from mpsearch.trials.evaluator import Evaluator

__all__ = ["Retraining", "float_bytes", "retrain_allocation", "retrain_float", "train_halfway"]


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """Settings of the full training, the same for the winner and its references; each starts from the float weights.

    Args:
        evaluator: trains and scores.
        hyper: method and recipe, with the epochs of this training.
        split: training data.
        seed: seed of the training.
        ledger: of the run, for the checkpoints to resume from.
        progress: gets a bar per training.
        announcer: is told of every epoch.
    """

    evaluator: Evaluator
    hyper: Hyperparameters
    split: Split
    seed: int
    ledger: Ledger
    progress: Progress
    announcer: Announcer = field(default_factory=Announcer)

    def made_from(self, trial: Trial | None) -> str:
        """Identity of the training of an allocation, or of the float network for None."""
        settings = (self.hyper.method, self.hyper.recipe, fingerprint_of(self.split), self.seed)
        return self.ledger.made_from(None if trial is None else trial.allocation.key(), *settings)

    def checkpoint(self, name: str, trial: Trial | None) -> Checkpoint:
        """The checkpoint of one training."""
        return Checkpoint(self.ledger.path(f"{name}.checkpoint"), made_from=self.made_from(trial), say=self.ledger.say)


def retrain_allocation(settings: Retraining, name: str, trial: Trial, *, begun_as: str = "") -> tuple[Record, Parts]:
    """Train one allocation; returns its record and its numbers.

    A training that ends with a larger validation error and loss than calibration alone is discarded: the calibrated network is returned,
    and the record says so.

    Args:
        settings: evaluator, hyperparameters, data, seed.
        name: for messages and the checkpoint, such as `winner`.
        trial: its allocation, and earlier scores for the record.
        begun_as: name by which `train_halfway` has begun this training, if it has.

    Raises:
        TrainingDiverged: a loss or a weight is not finite.
    """
    evaluator, method, recipe = settings.evaluator, settings.hyper.method, settings.hyper.recipe
    started = time.monotonic()
    network = evaluator.begin(trial.allocation, method)
    found, note, curve = evaluator.ptq(network, method, recipe), "", []
    parts = bake(network)
    if recipe.epochs:
        calibrated = (parts, found)
        network.begin(trial.allocation)
        curve = _trained(
            settings, name, network, settings.checkpoint(begun_as or name, trial), on_point=partial(settings.announcer.epoch, name)
        )
        parts = bake(network)
        found = evaluator.score_parts(parts)
        if found.error >= calibrated[1].error and found.loss > calibrated[1].loss:  # a difference of one sample can be chance
            note = "Training ended above calibration alone on validation, so the calibrated network is delivered; try a lower lr."
            parts, found = calibrated
    return _record(settings, trial, "full", found, seconds=time.monotonic() - started, note=note, curve=tuple(curve)), parts


def train_halfway(settings: Retraining, name: str, trial: Trial) -> Record:
    """The record of one allocation after half of its training; `retrain_allocation` goes on from there.

    The network is scored with BatchNorm statistics as training left them. A training that diverged has status `failed`. No logger is told.

    Args:
        settings: evaluator, hyperparameters with at least one epoch, data, seed.
        name: for messages and the checkpoint.
        trial: its allocation.
    """
    evaluator, started = settings.evaluator, time.monotonic()
    network = evaluator.begin(trial.allocation, settings.hyper.method)
    try:
        curve = _trained(settings, name, network, settings.checkpoint(name, trial), until=math.ceil(settings.hyper.recipe.epochs / 2))
    except TrainingDiverged as error:
        return _record(settings, trial, "", None, status="failed", note=str(error))
    return _record(settings, trial, "half", evaluator.score(network), seconds=time.monotonic() - started, curve=tuple(curve))


def _trained(
    settings: Retraining,
    name: str,
    network: Network,
    checkpoint: Checkpoint,
    *,
    until: int | None = None,
    on_point: Callable[[dict[str, float]], None] = lambda point: None,
) -> list[dict[str, float]]:
    """Train a network that has begun with an allocation, to the end or for the first `until` epochs; returns the curve."""

    def score(epoch: int) -> dict[str, float]:
        validation = settings.evaluator.score(network)
        return {"metric": validation.metric, "validation_loss": validation.loss}

    with settings.progress.phase(f"retraining {name}", 1) as bar:
        try:
            return settings.evaluator.train(
                network,
                settings.hyper.method,
                settings.hyper.recipe,
                seed=settings.seed,
                split=settings.split,
                on_step=bar.update,
                on_epoch=score,
                on_point=on_point,
                checkpoint=checkpoint,
                until=until,
            )
        except TrainingDiverged as error:
            raise TrainingDiverged(f"retraining of the {name} failed: {error}") from error


def _record(settings: Retraining, trial: Trial, rung: str, score: Score | None, **outcome: Any) -> Record:
    problem, method = settings.evaluator.problem, settings.hyper.method
    return Record(
        number=trial.number,
        origin=trial.origin,
        allocation=trial.allocation,
        rung=rung,
        scores=dict(trial.scores) if score is None else {**trial.scores, rung: score},
        costs=problem.amounts(trial.allocation, method),
        params=settings.hyper.params,
        feasible=problem.fits(trial.allocation, method),
        **outcome,
    )


def retrain_float(settings: Retraining) -> tuple[Record, torch.nn.Module]:
    """Train the float network further for as many epochs with the same recipe; returns its record and the network."""
    evaluator, problem = settings.evaluator, settings.evaluator.problem
    with settings.progress.phase("float control", 1) as bar:
        model, curve = evaluator.control(
            settings.hyper.recipe,
            seed=settings.seed,
            split=settings.split,
            on_step=bar.update,
            on_point=partial(settings.announcer.epoch, "control"),
            checkpoint=settings.checkpoint("control", None),
        )
    record = Record(
        number=-1,
        origin="float control",
        allocation=Allocation({}),
        rung="full",
        scores={"full": evaluate(model, problem.validation, problem.task, device=problem.device, batch=problem.execution.batch)},
        costs={"size": float(float_bytes(problem.model))},
        params=settings.hyper.params,
        curve=tuple(curve),
    )
    return record, model


def float_bytes(model: torch.nn.Module) -> int:
    """Bytes of all parameters and buffers as float32, each counted once."""
    return sum(4 * tensor.numel() for name, tensor in distinct_state(model).items() if not name.endswith("num_batches_tracked"))
