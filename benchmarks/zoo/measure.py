"""A row of the zoo: one `mpsearch.search` through its public interface, and what it says."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass

from results_file import Row
from torch import nn

import mpsearch
from benchmarks.zoo.case import Case, compare
from mpsearch.core.choice import Choice
from mpsearch.core.layer import Layer
from mpsearch.core.record import Record
from mpsearch.core.summary import Summary

__all__ = ["KEY", "Job", "float_bytes", "measure", "measure_rivals"]

SPACE = {"name": "weights-or-float", "weights": [1, 2, 3, 4, 5, 6, 7, 8, "float"], "activations": ["float"]}
"""Weights alone; a small layer that eight bits hurt may stay float."""
KEY = ("network", "share", "trained")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A network at a share of its float bytes, after calibration alone or after a short training."""

    network: str
    share: float
    trained: bool


def float_bytes(model: nn.Module) -> int:
    """Bytes of all parameters and buffers that its checkpoint holds."""
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


def measure(job: Job, case: Case) -> Row:
    """What the search found, and processor seconds; a refusal of ours is a row too."""
    began = time.process_time()
    whole = float_bytes(case.model)
    row: Row = {"network": job.network, "share": job.share, "trained": job.trained, "float_bytes": whole}
    row |= {"metric": case.task.metric_name, "gap": case.gap}
    with tempfile.TemporaryDirectory() as folder:
        try:
            summary = _search(job, case, int(job.share * whole), folder)
        except mpsearch.MpsearchError as error:
            return row | {"status": "refused", "reason": str(error), "seconds": round(time.process_time() - began)}
    return row | _figures(summary) | {"status": "done", "seconds": round(time.process_time() - began)}


def measure_rivals(network: str, case: Case) -> list[Row]:
    """A row for each other small version."""
    return [
        {
            "network": network,
            "status": "rival",
            "name": rival.name,
            "bytes": rival.bytes,
            "found": float(f"{compare(case, rival):.6g}"),
        }
        for rival in case.rivals
    ]


def _search(job: Job, case: Case, limit: int, folder: str) -> Summary:
    recipe = mpsearch.Recipe(optimizer="adamw", lr=case.lr, scale_lr=0.2, distill=0.7, batch_size=case.batch_size, precision="float32")
    return mpsearch.search(
        case.model,
        case.train,
        case.validation,
        test=case.test,
        task=case.task,
        budget=f"{limit}B",
        space=SPACE,
        methods=case.methods,
        signals=case.signals,
        images=case.images,
        recipe=recipe,
        evaluate="ptq",
        trials=case.trials,
        epochs=case.epochs if job.trained else 0,
        run_dir=folder,
        device="cpu",
        progress=False,
    ).summary


def _figures(summary: Summary) -> Row:
    uniform, weights = summary.uniform, sum(layer.weights for layer in summary.layers)
    row: Row = {
        "float": _short(summary.test["float"].metric),
        "found": _short(summary.test["winner"].metric),
        "bytes": summary.artifact_bytes,
        "bits": _short(sum(layer.weights * choice.weight.bits for layer, choice in _settled(summary)) / weights),
        "uniform": None if uniform is None else _short(summary.test["uniform"].metric),
        "uniform_bytes": None if uniform is None else int(uniform.costs["size"]),
        "uniform_bits": None if uniform is None else _words(uniform),
        "layers": len(summary.layers),
        "unquantized": [{"reason": group.reason, "bytes": group.bytes} for group in summary.unquantized],
        "float_layers": [layer.name for layer, choice in _settled(summary) if choice.weight.is_float],
    }
    return row


def _settled(summary: Summary) -> list[tuple[Layer, Choice]]:
    return [(layer, summary.winner.allocation[layer.name]) for layer in summary.layers]


def _words(record: Record) -> str:
    return ", ".join(sorted({str(choice) for choice in record.allocation.values()}))


def _short(value: float) -> float:
    return float(f"{value:.6g}")
