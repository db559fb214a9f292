"""Clipping by the Lp norm of the quantization error, as in LAPQ.

Nahshan, Chmiel, Baskin, Zheltonozhskii, Banner, Bronstein, Mendelson: Loss Aware Post-training Quantization, Machine Learning 110, 2021,
arXiv 1911.07190. A larger p penalises clipping more than rounding, so `p ↦ steps(p)` is a line through the space of all steps along which
the loss of the network is close to a parabola.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from mpsearch.numbers.gradients.affine import codes, dequantize
from mpsearch.numbers.grid import Grid
from mpsearch.numbers.sample import Sample

__all__ = ["best_exponent", "lp_multiplier"]

_SAMPLES, _LEAST = 2**14, 64
"""Values kept of a tensor, and at least of each of its rows."""
_GRID_POINTS = 64
_NARROWEST = 0.02
_MARGINS = (0.5, 1.0)
"""Margins below and above the tried exponents within which a vertex is accepted: 1.5 to 5 for 2 to 4."""


def lp_multiplier(rows: Tensor, steps: Tensor, grid: Grid, p: float) -> float:
    """`argmin_u mean |Q_{u·steps}(x) − x|^p`: one factor for the steps of all rows.

    The error has many minima at few bits, so a geometric grid (up to no clipping) is searched first, and the best point is then refined by
    Brent's bounded method. Long rows are sampled (`mpsearch.numbers.sample`).

    Args:
        rows: `[C, n]`; an activation is one row.
        steps: `[C]`, positive.
        grid: of the codes.
        p: exponent.

    Returns:
        The factor; 1 if all rows are zero or a value is not finite.
    """
    from scipy.optimize import minimize_scalar

    sample = Sample.of(rows, max(_SAMPLES // len(rows), _LEAST))
    steps = steps.detach().float()
    widest = float((sample.largest / (steps * (grid.hi + grid.offset))).max())
    unit = sample.largest.max()  # powers of small weights would underflow in float32
    if not 0 < widest < np.inf:
        return 1.0

    def error(factor: float) -> float:
        step = (steps * factor).unsqueeze(1)
        difference = dequantize(codes(sample.values, step, grid), step, grid.offset).sub_(sample.values)
        return float(sample.means(difference.abs_().div_(unit).pow_(p)).mean())

    factors = np.geomspace(_NARROWEST * widest, widest, _GRID_POINTS)
    errors = [error(factor) for factor in factors]
    best = int(np.argmin(errors))
    around = (float(factors[max(best - 1, 0)]), float(factors[min(best + 1, _GRID_POINTS - 1)]))
    found = minimize_scalar(error, method="bounded", bounds=around, options={"xatol": 1e-3 * around[1]})
    return float(found.x) if found.fun < errors[best] else float(factors[best])


def best_exponent(exponents: Sequence[float], losses: Sequence[float]) -> float:
    """Vertex of the parabola through (p, loss), by least squares; the best tried p if it opens downwards or its vertex is too far away.

    Args:
        exponents: three or more.
        losses: loss of the network at each exponent; values that are not finite are left out.
    """
    finite = [(p, loss) for p, loss in zip(exponents, losses, strict=True) if np.isfinite(loss)]
    if not finite:
        return float(min(exponents))
    tried = min(finite, key=lambda pair: pair[1])[0]
    if len(finite) < 3:
        return float(tried)
    p, loss = np.array(finite).T
    curvature, slope, _ = np.polyfit(p, loss, 2)
    if curvature <= 0:
        return float(tried)
    vertex = -slope / (2 * curvature)
    accepted = min(exponents) - _MARGINS[0] <= vertex <= max(exponents) + _MARGINS[1]
    return float(vertex if accepted else tried)
