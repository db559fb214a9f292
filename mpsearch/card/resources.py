"""What a run took (section I): passes, time, memory, and the tier of effort they amount to."""

from __future__ import annotations

import platform
import sys
from typing import Any

import torch

from mpsearch.card.arithmetic import tier
from mpsearch.card.inputs import CardInputs
from mpsearch.card.schema import na
from mpsearch.card.sections import DataSection, ResourceSection
from mpsearch.core.pass_counts import PassCounts
from mpsearch.core.summary import Summary

__all__ = ["resources"]

_EFFORT = ("calibration", "signals", "supernet", "study", "retraining")
"""Phases whose passes count as effort; references and the card itself do not."""


def resources(inputs: CardInputs, summary: Summary, counts: PassCounts, data: DataSection, *, trained: bool) -> ResourceSection:
    """Section I.

    Args:
        inputs: the run.
        summary: its results.
        counts: passes of the run.
        data: section H.
        trained: whether the delivered network was retrained.
    """
    config, device = inputs.config, inputs.problem.device
    spent = [counts[name] for name in _EFFORT]
    cuda, threads = device.type == "cuda", torch.get_num_threads()
    tuned = [f"{method}.{name}" for method in config.methods for name in config.hyperparameters(method).ranges]
    images = max(entry["images"] for use, entry in data.use.items() if use in ("calibration", "search", "fine-tune"))
    return ResourceSection(
        tier=tier(
            images=images,
            backward=sum(part.backward for part in spent),
            labels=sum(part.labels for part in spent),
            epoch=len(inputs.splits.train),
        ),
        device=torch.cuda.get_device_name(device) if cuda else f"{platform.machine()} CPU, {threads} thread{'s' if threads > 1 else ''}",
        seconds=dict(summary.seconds),
        gpu_hours=sum(summary.seconds.values()) / 3600 if cuda else na("no GPU"),
        passes=counts.to_dict(),
        epochs={
            "retraining": config.retrain.epochs if trained else 0,
            **({"supernet": config.search.supernet.epochs} if config.search.evaluate == "supernet" else {}),
            **{f"rung {rung.name}": rung.epochs for rung in config.search.climbed},
        },
        peak_memory_bytes=torch.cuda.max_memory_allocated(device) if cuda else _resident_bytes(),
        hyperparameters_tuned=[*tuned, *(f"recipe.{name}" for name in config.recipe.hyperparameters.ranges)],
    )


def _resident_bytes() -> Any:
    """Peak memory of the process, where the system reports it."""
    try:
        import resource
    except ImportError:
        return na("this system does not tell")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
