"""Fingerprints of data: digests of the content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

from mpsearch.core.nested import leaves
from mpsearch.data.split import Split

__all__ = ["content_digest", "fingerprint_of"]


def fingerprint_of(split: Split) -> str:
    """Sixteen hexadecimal digits that identify a split: its length, its indices and up to 64 samples without augmentation."""
    count = len(split)
    parts: list[object] = [count, split.indices]
    for inputs, targets in split.take(min(count, 64), 0).batches(64):
        parts += [*leaves(inputs), targets]
    return content_digest(parts)


def content_digest(parts: Iterable[object]) -> str:
    """Sixteen hexadecimal digits: a tensor is hashed by dtype, shape and bytes, everything else by its `repr`."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            flat = part.detach().cpu().contiguous().reshape(-1)
            total.update(f"{part.dtype}{tuple(part.shape)}".encode() + flat.view(torch.uint8).numpy().tobytes())
        else:
            total.update(repr(part).encode())
        total.update(b"\0")
    return total.hexdigest()[:16]
