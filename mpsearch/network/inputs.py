"""Model inputs as data loaders return them: a tensor, a tuple or list of positional arguments, or a dict of keyword arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.core.nested import leaves, mapped
from mpsearch.core.pass_counts import count

__all__ = ["batch_size", "call", "concatenated", "lay_out", "samples_of", "to_device"]


def call(model: nn.Module, inputs: Any) -> Any:
    """`model(x)`, `model(*x)` or `model(**x)`, a tensor or a structure of them; counts the samples as forward passes."""
    count(forward=batch_size(inputs))
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)


def batch_size(inputs: Any) -> int:
    """Length of the first tensor's first axis."""
    first: Tensor = next(leaves(inputs))
    return first.shape[0] if first.dim() else 1


def to_device(inputs: Any, device: torch.device, *, memory_format: torch.memory_format = torch.preserve_format) -> Any:
    """The same structure on `device`; images, `[N, C, H, W]`, in another memory format if one is given (the same values)."""

    def moved(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        another = memory_format != torch.preserve_format and value.dim() == 4
        return value.to(device, memory_format=memory_format if another else torch.preserve_format, non_blocking=True)

    return mapped(inputs, moved)


def samples_of(inputs: Any, rows: slice | Tensor, samples: int) -> Any:
    """The same structure with `rows` of every tensor that has an entry for each of `samples` samples; other values are kept."""
    return mapped(inputs, lambda value: value[rows] if isinstance(value, Tensor) and value.dim() and len(value) == samples else value)


def lay_out(model: nn.Module, memory_format: torch.memory_format) -> nn.Module:
    """Convert 4-D weights to another memory layout, in place; `Module.to` would refuse a model that also has 5-D weights."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=memory_format)
    return model


def concatenated(batches: Sequence[Any], samples: int) -> Any:
    """The first `samples` samples of the batches as one batch, in their structure and memory layout."""
    first = batches[0]
    if isinstance(first, dict):
        return {key: concatenated([batch[key] for batch in batches], samples) for key in first}
    if isinstance(first, tuple | list):
        return type(first)(concatenated(parts, samples) for parts in zip(*batches, strict=True))
    return first[:samples] if len(batches) == 1 else torch.cat(list(batches))[:samples]
