"""Stratified random splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.errors import DataError

__all__ = ["stratified_order", "stratified_split"]

Indices = NDArray[np.int64]


def stratified_order(targets: Indices, seed: int) -> Indices:
    """A random permutation in which every prefix has the classes in proportion.

    Samples are sorted by `(random rank within the class + 1/2) / size of the class`, ties at random. A prefix of length k then holds
    `k·n_c/N` samples of class c, give or take one.

    Args:
        targets: int `[N]`, class of each sample.
        seed: seed of the permutation.

    Returns:
        int64 `[N]`.
    """
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(targets))
    keys = np.empty(len(targets))
    for label in np.unique(targets):
        members = shuffled[targets[shuffled] == label]
        keys[members] = (np.arange(len(members)) + 0.5) / len(members)
    return shuffled[np.argsort(keys[shuffled], kind="stable")].astype(np.int64)


def stratified_split(targets: Indices, fractions: Sequence[float], seed: int) -> tuple[Indices, ...]:
    """Split all samples into disjoint sets: one for each fraction, then the rest.

    Args:
        targets: int `[N]`, class of each sample.
        fractions: sizes of the first sets as shares of N, rounded, at least one sample each.
        seed: seed of the split.

    Returns:
        `len(fractions) + 1` arrays of indices, int64, each in random order with the classes evenly mixed.

    Raises:
        DataError: nothing would be left for the rest.
    """
    order = stratified_order(targets, seed)
    sizes = [max(1, round(fraction * len(targets))) for fraction in fractions]
    if sum(sizes) >= len(targets):
        shares = ", ".join(map(str, fractions))
        raise DataError(f"{len(targets)} samples cannot be cut into shares of {shares} and a rest; add samples, or hold out less")
    return tuple(np.split(order, np.cumsum(sizes)))
