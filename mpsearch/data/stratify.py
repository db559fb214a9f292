"""Seeded, stratified, disjoint index sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.errors import DataError

__all__ = ["stratified_order", "stratified_split"]

Indices = NDArray[np.int64]


def stratified_order(targets: Indices, seed: int) -> Indices:
    """A random permutation of which every prefix holds the classes in proportion.

    `key(sample) = (random rank within its class + 1/2) / size of its class`; the permutation sorts by key, ties at random. A prefix of
    length k then holds `k·n_c/N` samples of class c, give or take one.

    Args:
        targets: int `[N]` class of each sample.
        seed: of the permutation.

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
    """Disjoint index sets that together are everything: one for each fraction, then the rest.

    Args:
        targets: int `[N]` class of each sample.
        fractions: share of N each of the first sets gets, rounded, at least one sample.
        seed: of the cut.

    Returns:
        `len(fractions) + 1` index sets, int64, each in random, evenly mixed order.

    Raises:
        DataError: nothing would be left for the rest.
    """
    order = stratified_order(targets, seed)
    sizes = [max(1, round(fraction * len(targets))) for fraction in fractions]
    if sum(sizes) >= len(targets):
        shares = ", ".join(map(str, fractions))
        raise DataError(f"{len(targets)} samples cannot be cut into shares of {shares} and a rest; add samples, or hold out less")
    return tuple(np.split(order, np.cumsum(sizes)))
