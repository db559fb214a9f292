"""What is logged: trials, epochs and whole runs as flat numbers and texts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mpsearch.core.printable import printable
from mpsearch.core.record import Record
from mpsearch.core.summary import Summary

__all__ = ["Values", "epoch_values", "settings_text", "summary_values", "trial_values"]

_NOT_IN_NAMES = re.compile(r"[^\w\-./ ]")


@dataclass(frozen=True, kw_only=True)
class Values:
    """Numbers and texts of one moment. Names have only letters, digits and `_-./ `, so that every tracker takes them.

    Args:
        axis: what the moment is a moment of: `trial`, `winner` for an epoch of the winner's retraining, `summary` for the run.
        step: number of the trial or epoch; 0 for the run.
        numbers: name → finite number.
        texts: name → text.
    """

    axis: str
    step: int = 0
    numbers: Mapping[str, float] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


def trial_values(record: Record, metric: str) -> Values:
    """A trial: scores at every rung, costs, weight and input bits of each layer, hyperparameters, origin.

    Args:
        record: of the trial.
        metric: name of its metric.
    """
    numbers: dict[str, float] = {
        "feasible": float(record.feasible),
        "failed": float(record.status != "complete"),
        "seconds": record.seconds,
    }
    if record.scored:
        numbers |= {metric: record.score.metric, "loss": record.score.loss, "error": record.score.error}
    for rung, score in record.scores.items():
        numbers |= {f"{rung}/{metric}": score.metric, f"{rung}/loss": score.loss}
    numbers |= record.costs
    texts = {"origin": record.origin, "rung": record.rung, "note": record.note, "bits": _bits(record)}
    for name, value in record.params.items():
        if isinstance(value, int | float):
            numbers[f"param/{name}"] = float(value)
        else:
            texts[f"param/{name}"] = str(value)
    bits: dict[str, float] = {}
    for layer, choice in record.allocation.items():
        bits[f"bits/{layer}"] = choice.weight.bits_per_value
        if not choice.activation.is_float:
            bits[f"input bits/{layer}"] = choice.activation.bits_per_value
    return Values(
        axis="trial", step=record.number, numbers={**_numbers("trial", numbers), **_numbers("", bits)}, texts=_texts("trial", texts)
    )


def epoch_values(network: str, point: Mapping[str, float], metric: str) -> Values:
    """An epoch of a retraining.

    Args:
        network: `winner`, `uniform`, …
        point: of its curve.
        metric: name of the metric.
    """
    numbers = {metric if name == "metric" else name: value for name, value in point.items() if name != "epoch"}
    return Values(axis=network, step=int(point["epoch"]), numbers=_numbers(f"retraining/{network}", numbers))


def summary_values(summary: Summary) -> Values:
    """The whole run: scores of float, winner and uniform networks on validation and test, the file, its bits."""
    records = {"winner": summary.winner, "uniform": summary.uniform, "searched": summary.searched, "control": summary.control}
    numbers: dict[str, float] = {}
    for split, score in summary.reference.scores.items():
        numbers[f"float/{split} {summary.metric}"] = score.metric
    for name, record in records.items():
        if record is not None and record.scored:
            numbers[f"{name}/validation {summary.metric}"] = record.score.metric
    for name, score in summary.test.items():
        numbers[f"{name}/test {summary.metric}"] = score.metric
    numbers |= {f"winner/{cost}": amount for cost, amount in summary.winner.costs.items()}
    numbers |= {
        "file bytes": float(summary.artifact_bytes),
        "float bytes": summary.reference.costs["size"],
        "compression": summary.reference.costs["size"] / summary.artifact_bytes,
        "mean weight bits": summary.winner.allocation.mean_weight_bits(summary.layers),
        "trials": float(len(summary.trials)),
        "seconds": sum(summary.seconds.values()),
    }
    texts = {
        "bits": _bits(summary.winner),
        "origin": summary.winner.origin,
        "budgets": ", ".join(budget.text for budget in summary.budgets),
        "file": summary.artifact,
        "command": summary.command,
        "left out": " ".join(summary.skipped),
    }
    return Values(axis="summary", numbers=_numbers("summary", numbers), texts=_texts("summary", texts))


def settings_text(study: Mapping[str, Any], path: str = "") -> dict[str, str]:
    """The settings of a study by dotted key; lists are one text."""
    found: dict[str, str] = {}
    for key, value in study.items():
        if isinstance(value, Mapping) and value:
            found |= settings_text(value, f"{path}{_name(str(key))}.")
        else:
            found[f"{path}{_name(str(key))}"] = printable(str(value))
    return found


def _bits(record: Record) -> str:
    return "\n".join(f"{printable(layer)}: {choice}" for layer, choice in record.allocation.items())


def _numbers(group: str, numbers: Mapping[str, float]) -> dict[str, float]:
    return {_name(f"{group}/{name}" if group else name): float(value) for name, value in numbers.items() if math.isfinite(value)}


def _texts(group: str, texts: Mapping[str, str]) -> dict[str, str]:
    return {_name(f"{group}/{name}"): "\n".join(map(printable, text.splitlines())) for name, text in texts.items() if text}


def _name(name: str) -> str:
    """A name that every tracker takes: `layers[0]<x>` becomes `layers_0__x_`."""
    return _NOT_IN_NAMES.sub("_", name)
