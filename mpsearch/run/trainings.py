"""`Training`: how a training under quantization moved the validation error; those of a machine are kept in the cache, for later studies.

Nothing in the file tells whose data or network it was: a line holds a kind of task and a few numbers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from mpsearch.core.checked import checked
from mpsearch.data import cache_directory

__all__ = ["Training", "earlier_trainings", "keep_training"]

_FILE = "trainings.jsonl"
_LATEST = 400


@dataclass(frozen=True, kw_only=True)
class Training:
    """The winner of one study.

    Args:
        task: kind of task, such as `classification`.
        metric: name of the metric.
        trained: whether `before` is of a network that a trial had trained, not only calibrated.
        epochs: of the retraining.
        float_error: validation error of the float network.
        before: of the trial.
        after: of the retrained network.
        noise: standard error of an error on that split.
    """

    task: str
    metric: str
    trained: bool
    epochs: int
    float_error: float
    before: float
    after: float
    noise: float

    def like(self, other: Training) -> bool:
        """Whether errors have the same meaning and scale, and were measured at the same stage."""
        return (self.task, self.metric, self.trained) == (other.task, other.metric, other.trained)


def earlier_trainings() -> list[Training]:
    """The latest 400 that this machine has kept; lines that cannot be read are passed over."""
    try:
        lines = (cache_directory() / _FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return list(_read(lines[-_LATEST:]))


def _read(lines: Iterable[str]) -> Iterable[Training]:
    for line in lines:
        try:
            document: Any = json.loads(line)
            yield checked(Training, document)
        except (ValueError, TypeError, KeyError, RecursionError):
            continue


def keep_training(training: Training) -> None:
    """Add a line in one write, so that several studies may share the file. Where the cache cannot be written to, only foresight is lost."""
    file = cache_directory() / _FILE
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError:
        return
    try:
        os.write(handle, (json.dumps(asdict(training)) + "\n").encode())
    except OSError:
        return
    finally:
        os.close(handle)
