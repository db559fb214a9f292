"""Retrained networks in the run directory: a record and the numbers it belongs to, written once and read back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from mpsearch.core.errors import ArtifactError
from mpsearch.core.pass_counts import phase
from mpsearch.core.record import Record
from mpsearch.network.baked import Parts, install
from mpsearch.network.inputs import call, to_device
from mpsearch.run.ledger import Ledger
from mpsearch.run.setup import Setup
from mpsearch.targets.packed.artifact import read_artifact, write_artifact

__all__ = ["Retrained", "retrained_once"]

_CHECKED_SAMPLES = 64


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """A retrained network.

    Args:
        record: its scores and costs.
        parts: its numbers, as the artifact holds them.
        path: the artifact.
    """

    record: Record
    parts: Parts
    path: Path


def retrained_once(
    ledger: Ledger, record_name: str, artifact_name: str, setup: Setup, train: Callable[[], tuple[Record, Parts]]
) -> Retrained:
    """A retrained network, trained if the run directory does not hold it yet.

    The numbers are always those of the file, also right after training: whatever is scored or reported later is what was delivered.

    Args:
        ledger: of the run.
        record_name: JSON file of the record, written last.
        artifact_name: file of the numbers.
        setup: network and layers.
        train: gives the record and the numbers.

    Raises:
        ArtifactError: the file has another size than the record's cost, or its logits differ from those of the network that was scored.
    """
    path = ledger.path(artifact_name)
    record = ledger.read(record_name, Record.from_dict) if path.exists() else None
    if record is None:
        ledger.path(record_name).unlink(missing_ok=True)  # of a file that is gone
        record, parts = train()
        _write_verified(path, setup, parts, record.costs["size"])
        ledger.write(record_name, record.to_dict())
    return Retrained(record=record, parts=read_artifact(path).parts(setup.problem.model), path=path)


@phase("verification")
def _write_verified(path: Path, setup: Setup, parts: Parts, expected: float) -> None:
    problem = setup.problem
    size = write_artifact(path, setup.blueprint, parts)
    if size != expected:
        raise ArtifactError(f"{path} has {size} bytes but its cost was {expected:.0f}; this is a bug of mpsearch")
    loaded, scored = read_artifact(path).install(problem.model), install(problem.model, problem.space.layers, parts)
    batch, _ = next(iter(problem.validation.batches(_CHECKED_SAMPLES)))
    with torch.no_grad():
        inputs = to_device(batch, problem.device)
        if not torch.equal(call(loaded, inputs), call(scored, inputs)):
            raise ArtifactError(f"{path}, read back, gives other logits than the network that was scored; this is a bug of mpsearch")
