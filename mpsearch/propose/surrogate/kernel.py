"""The covariance of two allocations: an additive and a product kernel on log2 bits.

    k(x, x') = α² Σ_g ω_g e(x_g, x'_g) + β² exp(−½ Σ_g ω_g d²(x_g, x'_g) / τ²)
    e = exp(−½ d²),   d² = (Δ log2 weight bits / ℓ_w)² + (Δ log2 activation bits / ℓ_a)² + [x_g ≠ x'_g] / ℓ_n²,   Σ_g ω_g = 1

The last term is nominal: every bit width is a quantizer with steps of its own, so part of its effect on a layer says nothing about its
neighbours on the menu (it multiplies by `exp(−½ [≠] / ℓ_n²)`, which is itself a kernel: constant plus identity).

The additive part models what a table of layers could still express, the product part the interactions of layers. For any number of groups,
the kernel depends only on the weight ω at each of the few distances that occur. These sums are computed once for each pair, and the
hyperparameters are fitted on them.

Source: Duvenaud, Nickisch and Rasmussen, "Additive Gaussian Processes", arXiv 1112.4394, sections 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.arrays import Floats, Picks

__all__ = ["Kernel", "Metric"]


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """Hyperparameters.

    Args:
        additive: α, nats of log loss.
        product: β, nats of log loss.
        lengths: (ℓ_w, ℓ_a, ℓ_n), the first two in doublings of bits.
        stretch: τ.
        drift: η, amplitude of what a later rung adds to the shared function, as a multiple of α and β.
        noises: standard deviation of one measurement, float64 `[R]`, nats of log loss.
    """

    additive: float
    product: float
    lengths: tuple[float, float, float]
    stretch: float
    drift: float
    noises: Floats

    def near(self, squares: Floats) -> Floats:
        """The factor e at squared distances `[..., 3]`."""
        return np.asarray(np.exp(-0.5 * self.scaled(squares)))

    def scaled(self, squares: Floats) -> Floats:
        """The distance d² at squared distances `[..., 3]`."""
        return np.asarray(squares @ (1.0 / np.square(self.lengths)))


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Distances between choices, and the weight of each group.

    Args:
        coordinates: of each choice, log2 of the bits of a weight and of an activation, float64 `[C, 2]`.
        shares: ω, float64 `[G]`, sum 1.
    """

    coordinates: Floats
    shares: Floats

    @cached_property
    def squares(self) -> Floats:
        """Squared distances of choices, float64 `[C, C, 3]`; the last is 1 between any two that differ."""
        squares = np.square(self.coordinates[:, None] - self.coordinates[None])
        return np.concatenate([squares, 1.0 - np.eye(len(squares))[:, :, None]], axis=2)

    @cached_property
    def kinds(self) -> tuple[Floats, NDArray[np.intp]]:
        """(the D distinct squared distances, float64 `[D, 3]`; index of the one between two choices, int `[C, C]`)."""
        flat = self.squares.reshape(-1, 3)
        different, index = np.unique(flat.round(12), axis=0, return_inverse=True)
        return different, index.reshape(self.squares.shape[:2]).astype(np.intp)

    def histogram(self, picks: Picks) -> Floats:
        """Total weight ω of the groups at each distance, for each pair of N allocations, float64 `[D, N, N]`."""
        different, kind = self.kinds
        found = np.zeros((len(different), len(picks), len(picks)))
        roots = np.sqrt(self.shares)
        taken = {int(choice): np.where(picks == choice, roots, 0.0) for choice in np.unique(picks)}
        for (one, first), (other, second) in combinations_with_replacement(taken.items(), 2):
            overlap = first @ second.T
            found[kind[one, other]] += overlap if one == other else overlap + overlap.T
        return found

    def between(self, kernel: Kernel, picks: Picks, others: Picks) -> tuple[Floats, Floats]:
        """(additive part, product part), float64 `[N, M]`, of allocations `[N, G]` and `[M, G]`."""
        near, scaled = kernel.near(self.squares), kernel.scaled(self.squares)
        cells = len(self.shares) * len(near)
        left, far = ((table[picks] * self.shares[:, None]).reshape(len(picks), cells) for table in (near, scaled))
        onehot = (others[:, :, None] == np.arange(len(near))).reshape(len(others), cells).astype(np.float64)
        additive = left @ onehot.T
        apart = far @ onehot.T
        return kernel.additive**2 * additive, kernel.product**2 * np.exp(-0.5 * apart / kernel.stretch**2)

    def from_moves(self, kernel: Kernel, picks: Picks, moves: Picks, steps: Picks, others: Picks) -> Floats:
        """Kernel, float64 `[K, N]`, between allocations `[N, G]` and K allocations that differ from `picks` by a few moves.

        Args:
            kernel: hyperparameters.
            picks: int `[G]`.
            moves: (group, choice), int `[U, 2]`.
            steps: int `[K, J]`, the moves to each of them, in different groups; U is no move.
            others: int `[N, G]`.
        """
        near, scaled = kernel.near(self.squares), kernel.scaled(self.squares)
        group, choice = moves.T
        at = others[:, group].T
        share, own = self.shares[group][:, None], picks[group][:, None]
        none = np.zeros((1, len(others)))
        closer = np.concatenate([share * (near[choice[:, None], at] - near[own, at]), none])
        farther = np.concatenate([share * (scaled[choice[:, None], at] - scaled[own, at]), none])
        additive = (self.shares[:, None] * near[picks[:, None], others.T]).sum(axis=0) + closer[steps].sum(axis=1)
        apart = (self.shares[:, None] * scaled[picks[:, None], others.T]).sum(axis=0) + farther[steps].sum(axis=1)
        return np.asarray(kernel.additive**2 * additive + kernel.product**2 * np.exp(-0.5 * apart / kernel.stretch**2))
