"""Retrained networks in the run directory: a record and the numbers of the network, written once and read back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mpsearch.core.pass_counts import phase
from mpsearch.core.record import Record
from mpsearch.network.baked import Parts
from mpsearch.network.inputs import to_device
from mpsearch.run.ledger import Ledger
from mpsearch.run.setup import Setup

__all__ = ["Retrained", "retrained_once"]

_CHECKED_SAMPLES = 64


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """A retrained network.

    Args:
        record: its scores and costs.
        parts: its numbers, as read from the artifact.
        path: the artifact.
    """

    record: Record
    parts: Parts
    path: Path


def retrained_once(
    ledger: Ledger, record_name: str, artifact_name: str, setup: Setup, train: Callable[[], tuple[Record, Parts]], made_from: str
) -> Retrained:
    """The retrained network in the run directory; trained if there is no sound one of the same training.

    The numbers are always read from the file, also right after training, so later scores are those of the delivered file.

    Args:
        ledger: ledger of the run.
        record_name: JSON file of the record, written last.
        artifact_name: file of the numbers, in the format of the study's target.
        setup: network and layers.
        train: returns the record and the numbers.
        made_from: identity of the training.

    Raises:
        ArtifactError: the file's size differs from the record's cost, or its outputs from those of the scored network.
    """
    target, model, path = setup.target, setup.problem.model, ledger.path(artifact_name)
    record = ledger.read_record(record_name, artifact_name, made_from=made_from)
    problem = setup.problem
    if record is None or set(record.allocation) != set(problem.space.names) or not problem.costs.keys() <= record.costs.keys():
        record, parts = train()
        _write_verified(path, setup, parts, record.costs["size"])
        ledger.write_record(record_name, artifact_name, record, made_from=made_from)
    return Retrained(record=record, parts=target.read(path).parts(model).chosen(record.allocation), path=path)


@phase("verification")
def _write_verified(path: Path, setup: Setup, parts: Parts, expected: float) -> None:
    problem = setup.problem
    batch, _ = next(iter(problem.validation.batches(_CHECKED_SAMPLES)))
    setup.writer.write(path, parts)
    setup.target.verify(path, parts, problem.model, problem.space.layers, to_device(batch, problem.device), expected)
