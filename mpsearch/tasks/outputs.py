"""A network's outputs: one tensor, or a structure of them (tuple, list, dict, dataclass such as Hugging Face's `ModelOutput`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mpsearch.core.errors import ModelError
from mpsearch.core.nested import leaves, mapped, zipped

__all__ = [
    "all_finite",
    "collected",
    "counted_parts",
    "described",
    "float_tensors",
    "floats_mapped",
    "most_samples_differ_by",
    "prediction_of",
    "same_values",
]

_PREDICTION = "logits"
"""Name of the prediction where a structure has names, as Hugging Face's models call it."""


def float_tensors(outputs: Any) -> list[Tensor]:
    """Every floating-point tensor that has a sample axis, in order."""
    return [leaf for leaf in leaves(outputs) if _counts(leaf)]


def floats_mapped(outputs: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same structure with every floating-point tensor changed; all else stays."""
    return mapped(outputs, lambda leaf: change(leaf) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf)


def all_finite(outputs: Any) -> bool:
    """Whether no floating-point tensor holds NaN or infinity."""
    return all(bool(torch.isfinite(leaf).all()) for leaf in leaves(outputs) if isinstance(leaf, Tensor) and leaf.is_floating_point())


def prediction_of(outputs: Any, output: str | int | None = None) -> Tensor:
    """The tensor of the outputs that a task scores.

    Args:
        outputs: of the network.
        output: name or position of the entry; if not given, the entry `logits`, or else the first floating-point tensor.

    Raises:
        ModelError: there is no such entry, or no floating-point tensor in it.
    """
    if isinstance(outputs, Tensor) and output is None:
        return outputs
    entries = _entries(outputs)
    if output is None:
        chosen = entries.get(_PREDICTION, outputs)
    elif output in entries:
        chosen = entries[output]
    else:
        has = f"entries {', '.join(map(repr, entries))}" if entries else "a single tensor"
        raise ModelError(f"the task scores output {output!r}, but the model returns {has}; name one of these, or give no output=")
    found = next(iter(float_tensors(chosen)), None)
    if found is None:
        raise ModelError(
            f"the model returns no floating-point tensor to score ({described(outputs)}); return its scores, or name them by output="
        )
    return found


def counted_parts(outputs: Any, output: str | int | None) -> list[Tensor]:
    """The prediction, and after it every other floating-point tensor, unless the prediction goes by a name or was chosen."""
    first = prediction_of(outputs, output)
    if output is not None or _PREDICTION in _entries(outputs):
        return [first]
    return [first, *(tensor for tensor in float_tensors(outputs) if tensor is not first)]


def collected(batches: Sequence[Any]) -> Any:
    """The outputs of several batches as one: tensors are joined along their sample axis, of other values the first is kept.

    Raises:
        ValueError: the structures or the shapes differ.
    """

    def merge(values: list[Any]) -> Any:
        if not isinstance(values[0], Tensor):
            return values[0]
        if not values[0].dim():
            return torch.stack(values)
        if len({value.shape[1:] for value in values}) > 1:
            raise ValueError(f"shapes {' and '.join(sorted({str(list(value.shape[1:])) for value in values}))} of a sample")
        return torch.cat(values)

    return zipped(list(batches), merge)


def described(outputs: Any) -> str:
    """Shapes for messages, such as `[20, 3]` or `logits [20, 3], 1 [20, 7]`."""
    if isinstance(outputs, Tensor):
        return str(list(outputs.shape))
    named = ((name, f"{described(entry)}") for name, entry in _entries(outputs).items())
    return ", ".join(f"{name} {text}" for name, text in named) or type(outputs).__name__


def same_values(first: Any, second: Any) -> bool:
    """Whether the same structure holds the same tensors, bit for bit; other values do not count."""
    ours, theirs = ([leaf for leaf in leaves(each) if isinstance(leaf, Tensor)] for each in (first, second))
    return len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def most_samples_differ_by(first: Any, second: Any) -> float:
    """Median over samples of `max |a − b| / max |b|` over a sample's floating-point outputs; infinite if the structures differ."""
    ours, theirs = float_tensors(first), float_tensors(second)
    if [tensor.shape for tensor in ours] != [tensor.shape for tensor in theirs]:
        return float("inf")
    if not theirs:
        return 0.0
    apart = torch.stack([(a.cpu() - b.cpu()).abs().reshape(len(a), -1).amax(1) for a, b in zip(ours, theirs, strict=True)])
    largest = max(float(b.abs().max()) for b in theirs)
    return float(apart.amax(0).median()) / (largest or 1.0)


def _counts(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.dim() > 0


def _entries(outputs: Any) -> dict[Any, Any]:
    """Name or position → entry of a structure; empty for anything else."""
    if isinstance(outputs, dict):
        return dict(outputs)
    if isinstance(outputs, tuple | list):
        named = dict(zip(getattr(outputs, "_fields", ()), outputs, strict=False))
        return {**named, **dict(enumerate(outputs))}
    if dataclasses.is_dataclass(outputs) and not isinstance(outputs, type):
        return {field.name: getattr(outputs, field.name) for field in dataclasses.fields(outputs)}
    return {}
