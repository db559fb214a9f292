"""`foresee`: the validation metric that the retrained winner will have, with an interval, before it is retrained.

Training under quantization gives back a part of what calibration lost. With errors e0 of the float network and e of the trial,

    e_retrained = e0 + ρ (e − e0) + s z,      s² = noise² + (0.3 (e − e0))²

where noise is the standard error of an error on the validation split. ρ and the 5 % and 95 % quantiles of z come from the trainings that
this machine has seen (`trainings`), where there are 20 that were measured alike, else from studies of small networks on the digits
(`benchmarks/foresight.py`). A trial that was itself trained is a rung nearer: it has a ρ and quantiles of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from mpsearch.core.arrays import Floats
from mpsearch.core.checked import checked
from mpsearch.core.json_data import json_data
from mpsearch.core.pass_counts import phase
from mpsearch.core.promises import Foresight
from mpsearch.core.record import Record, Score
from mpsearch.run.error_bound import metric_of, rises
from mpsearch.run.ledger import Ledger
from mpsearch.run.plan import retraining_seconds
from mpsearch.run.setup import Setup
from mpsearch.run.trainings import Training, earlier_trainings, keep_training
from mpsearch.training.evaluate import evaluate
from mpsearch.trials.climb import best_record
from mpsearch.trials.problem import Problem

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["ENOUGH", "SHIPPED", "Recovery", "foresee", "foreseen", "learn", "noise_of", "recovery"]

_FORESEEN = "foreseen.json"
_LEARNED = "learned.json"

ENOUGH = 20
_SPREAD = 0.3
"""Of what calibration lost: how far what training gives back differs from study to study."""
_OUTER = (0.05, 0.95)
_LARGEST = 1e50


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """What training gives back.

    Args:
        share: ρ.
        low: 5 % quantile of z.
        high: 95 % quantile of z.
    """

    share: float
    low: float
    high: float


SHIPPED = {False: Recovery(share=0.31, low=-0.68, high=0.99), True: Recovery(share=0.9, low=-1.5, high=1.5)}
"""By whether the trial was trained. The first was fitted by `benchmarks/foresight.py`; the second is a guess that six studies of the digits
did not refute, all six within."""


def recovery(trainings: Sequence[Training]) -> Recovery:
    """What trainings that were measured alike gave back: least squares for ρ, each weighted by its scale, and quantiles of what is left.

    The quantiles are those of a sample with one more value beyond either end, as a prediction of the next one needs.
    """
    lost = np.array([each.before - each.float_error for each in trainings])
    left = np.array([each.after - each.float_error for each in trainings])
    scale = np.array([_scale(each.before - each.float_error, each.noise) for each in trainings])
    share = float(np.sum(left * lost / scale**2) / max(np.sum(lost**2 / scale**2), 1e-12))
    share = min(max(share, 0.0), 1.0)
    low, high = _quantiles((left - share * lost) / scale)
    return Recovery(share=share, low=low, high=high)


def _quantiles(values: Floats) -> tuple[float, float]:
    count = len(values)
    low, high = (float(np.quantile(values, min(max((level * (count + 1) - 1) / (count - 1), 0.0), 1.0))) for level in _OUTER)
    return low, high


def _scale(lost: float, noise: float) -> float:
    return max(math.hypot(noise, _SPREAD * lost), 1e-9)


def noise_of(problem: Problem, error: float) -> float:
    """Standard error of an error about as large as the given one on the validation split; of accuracies it is exact, else a share of it."""
    samples = len(problem.validation)
    if problem.task.metric_name != "accuracy":
        return abs(error) / math.sqrt(samples)
    share = (min(max(error, 0.0), 1.0) * samples + 1) / (samples + 2)  # not zero for a network that makes no mistake
    return math.sqrt(share * (1 - share) / samples)


def foresee(now: Training, reference: Score, earlier: Sequence[Training], seconds: float) -> Foresight:
    """The metric of the retrained winner.

    Args:
        now: the study's own training, whose `after` is not read.
        reference: of the float network on validation, which tells how error and metric go together.
        earlier: trainings of this machine.
        seconds: that retraining will take.
    """
    alike = [each for each in earlier if each.like(now)]
    enough = len(alike) >= ENOUGH
    known = recovery(alike) if enough else SHIPPED[now.trained]
    lost = now.before - now.float_error
    scale = _scale(lost, now.noise)
    expected = now.float_error + known.share * lost
    ends = [max(expected + z * scale, 0.0) if now.metric == "accuracy" else expected + z * scale for z in (known.low, known.high)]
    low, metric, high = (metric_of(error, reference, rises(reference)) for error in (ends[0], expected, ends[1]))
    source = f"{len(alike)} earlier trainings on this machine" if enough else "studies of small networks on the digits"
    return Foresight(metric=metric, low=min(low, high), high=max(low, high), seconds=seconds, based_on=source)


def foreseen(config: StudyConfig, setup: Setup, records: Sequence[Record], ledger: Ledger) -> tuple[Training, Foresight] | None:
    """The study's own training, before it begins, and what is expected of it; computed once a run.

    None where nothing is retrained, no trial was scored, an error is no number, or validation samples are trained on.
    """
    problem, best = setup.problem, best_record(records)
    if best is None or not config.retrain.epochs or config.retrain.include_validation:
        return None

    @phase("foresight")
    def compute() -> tuple[Training, Foresight] | None:
        reference = evaluate(problem.model, problem.validation, problem.task, device=problem.device, batch=problem.execution.batch)
        if not all(abs(error) < _LARGEST for error in (reference.error, best.score.error)):
            return None
        now = Training(
            task=problem.task.name,
            metric=problem.task.metric_name,
            trained=bool(best.curve),
            epochs=config.retrain.epochs,
            float_error=reference.error,
            before=best.score.error,
            after=best.score.error,
            noise=noise_of(problem, best.score.error),
        )
        steps = [record.seconds / (len(record.curve) * len(problem.train)) for record in records if record.curve]
        seconds = retraining_seconds(config, setup, median(steps) if steps else None)
        return now, foresee(now, reference, earlier_trainings(), seconds)

    return ledger.once(
        _FORESEEN,
        compute,
        made_from=ledger.made_from(best.allocation.key(), dict(best.scores), config.retrain.epochs),
        dump=lambda both: None if both is None else [json_data(each) for each in both],
        load=lambda document: None if document is None else (checked(Training, document[0]), checked(Foresight, document[1])),
    )


def learn(now: Training, after: float, ledger: Ledger) -> None:
    """Keep what came out of the study's training for later studies of this machine, once a run."""
    training = replace(now, after=after)

    def keep() -> Training:
        keep_training(training)
        return training

    made_from = ledger.made_from(asdict(training))
    ledger.once(_LEARNED, keep, made_from=made_from, dump=json_data, load=lambda document: checked(Training, document))
