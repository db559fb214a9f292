"""`lapq`: steps of all tensors are searched jointly by the loss of the network, without training.

Nahshan, Chmiel, Baskin, Zheltonozhskii, Banner, Bronstein, Mendelson: Loss Aware Post-training Quantization, Machine Learning 110, 2021,
arXiv 1911.07190. At few bits the loss is far from a sum over layers, so choosing each step alone fails. Three phases, all for the
present allocation:

1. Per tensor: the step with the least `mean |Q(x) − x|^p`, for `points` exponents from `p_low` to `p_high`. Activations are taken from the
   first batch, with all earlier tensors already quantized.
2. Exponent: a parabola through the network's loss at those p; its vertex, or the best p tried if there is no vertex nearby.
3. Jointly: Powell's method on the log of one factor per tensor, each between 0.3 and 1.5 of its initial value.

The visited steps with the least loss are kept; the calibrated steps are among them. The loss is the divergence from the float network on
training images; no label is read (the original code uses labels, and images of the validation set; what the paper uses is UNVERIFIED).

Differences: one factor per tensor on per-channel steps instead of one clip per tensor (10⁴ channels are too many for Powell's method); the
factor of phase 1 is searched on a grid before it is refined, since theirs, one local search, can end in a poor minimum; the library's
grids, of which `half` is theirs for weights; every tensor that the allocation quantizes takes part, not only convolutions and ReLUs;
Powell's search is bounded, starts at the best point so far and ends after `evaluations` of the loss, which may be within its first sweep:
tensors of few bits come first, since the loss is steepest there.
The paper's correction of each output channel's mean is left out, since an artifact stores codes and one scale per channel, but no offset.
Instead, BatchNorm is re-estimated after calibration, which sets every channel's mean to that of the quantized network. During the search,
BatchNorm therefore normalises by the images at hand, as an approximation of re-estimation: the search minimises that loss, not the loss
under the float network's statistics. (On unseen images three small networks of 2-bit weights diverged by 0.060 nats this way,
0.086 the other way, 0.130 as calibrated; at w3a3 by 0.046, 0.046 and 0.040: 512 images can be overfitted.)
Subsequent training is `lsq`: from the steps found if it continues from the calibrated network, from calibration after `begin`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.methods import METHODS
from mpsearch.methods.lsq import Lsq
from mpsearch.network.batchnorm import running_norms
from mpsearch.network.bypass import statistics_kept
from mpsearch.network.modes import modes_kept
from mpsearch.network.network import Network
from mpsearch.network.observe import draw, hooked
from mpsearch.network.quantizers import ActQuantizer, WeightQuantizer
from mpsearch.numbers.lp_clip import best_exponent, lp_multiplier

__all__ = ["JointSearch", "Lapq"]

Point = NDArray[np.float64]

_BOUNDS = (math.log(0.3), math.log(1.5))
_TOLERANCE = 0.02
"""In the log of a step; the loss is too rough for a finer tolerance."""
_SAMPLES = 2**14


class _Spent(Exception):
    """The limit of evaluations is reached."""


class JointSearch:
    """Search for the best point with a limited number of evaluations.

    Args:
        loss: `[D]` → value; values that are not finite count as infinite.
        evaluations: maximum number of calls.
        start: the best point until one with a finite loss is visited.
    """

    def __init__(self, loss: Callable[[Point], float], evaluations: int, start: Point) -> None:
        self._loss = loss
        self._left = evaluations
        self.best = start
        self.lowest = math.inf

    def at(self, point: Point) -> float:
        """Evaluate the loss at a point and record it."""
        if self._left <= 0:
            raise _Spent
        return self.visit(point, self._loss(point))

    def visit(self, point: Point, value: float) -> float:
        """Record a loss that was computed elsewhere; it counts as an evaluation."""
        self._left -= 1
        value = value if math.isfinite(value) else math.inf
        if value < self.lowest:
            self.best, self.lowest = np.array(point), value
        return value

    def powell(self, iterations: int) -> None:
        """Powell's method from the best point, within log 0.3 and log 1.5 of it in each coordinate."""
        from scipy.optimize import minimize

        limits = [(x + _BOUNDS[0], x + _BOUNDS[1]) for x in self.best]
        with suppress(_Spent):
            minimize(self.at, self.best, method="Powell", bounds=limits, options={"maxiter": iterations, "xtol": _TOLERANCE})


@dataclass(kw_only=True)
class _Factor:
    """The factor on one tensor's calibrated steps, as its log; 0 is calibration."""

    quantizer: WeightQuantizer | ActQuantizer
    rows: Tensor
    steps: Tensor
    log: float = 0.0

    def set(self, log: float) -> None:
        self.log = float(log)
        steps = self.steps * math.exp(self.log)
        if isinstance(self.quantizer, WeightQuantizer):
            self.quantizer.begin(self.rows, steps)
        else:
            self.quantizer.begin(steps)

    def fit(self, p: float) -> None:
        self.set(math.log(lp_multiplier(self.rows, self.steps.reshape(-1), self.quantizer.grid, p)))


@METHODS.register("lapq")
@dataclass(frozen=True, kw_only=True)
class Lapq(Lsq):
    """Loss aware post-training quantization, then LSQ (arXiv 1911.07190).

    Args:
        iterations: iterations of Powell's method; 0 stops after the exponent.
        p_low: smallest exponent tried.
        p_high: largest exponent tried.
        points: number of exponents tried, evenly spaced.
        evaluations: maximum number of loss evaluations, each a pass over the calibration images.

    Raises:
        ConfigError: a value is out of its range.
    """

    paper: ClassVar[str] = "Nahshan et al., Loss Aware Post-training Quantization, Machine Learning 110, 2021, arXiv 1911.07190"
    superblocks: ClassVar[bool] = False
    description: ClassVar[str] = "steps of all tensors searched together by the network's loss, without training; trains as lsq"
    zero_points: ClassVar[bool] = False

    iterations: int = 2
    p_low: float = 2.0
    p_high: float = 4.0
    points: int = 10
    evaluations: int = 300

    def __post_init__(self) -> None:
        self.require(
            "lapq",
            iterations=(self.iterations >= 0, "0 or more"),
            p_low=(self.p_low > 0, "above 0"),
            p_high=(self.p_high > self.p_low, f"above p_low, {self.p_low}"),
            points=(self.points >= 3, "3 or more, for a parabola"),
            evaluations=(self.evaluations >= self.points + 2, f"{self.points + 2} or more, for the exponents alone"),
        )

    def calibrate(self, network: Network, loss: Callable[[], float]) -> None:
        """Run the three phases, with at most `evaluations` calls of `loss`."""
        factors = _factors(network)
        if not factors:
            return

        def at(point: Point) -> float:
            _place(factors, point)
            return loss()

        search = JointSearch(at, self.evaluations, np.zeros(len(factors)))
        with _batch_statistics(network.model):
            search.at(search.best)
            exponents = np.linspace(self.p_low, self.p_high, self.points).tolist()
            losses = [_at_exponent(search, factors, p, loss) for p in exponents]
            _at_exponent(search, factors, best_exponent(exponents, losses), loss)
            if self.iterations:
                search.powell(self.iterations)
        _place(factors, search.best)


def _factors(network: Network) -> list[_Factor]:
    """Factors of all quantized tensors, those of few bits first."""
    factors: dict[int, _Factor] = {}
    for layer in network.space.layers:
        weight, act = network.weight_quantizer(layer), network.act_quantizer(layer)
        if weight.bits != FLOAT_BITS:
            rows = weight.rows.split(network.latent_weight(layer).detach())
            factors[id(weight)] = _Factor(quantizer=weight, rows=rows, steps=weight.steps(rows).detach().clone())
        if act is not None and act.bits != FLOAT_BITS:
            factors[id(act)] = _Factor(quantizer=act, rows=torch.zeros(1, 1), steps=act.step_value().detach().clone())
    return sorted(factors.values(), key=lambda factor: factor.quantizer.bits)


def _place(factors: Sequence[_Factor], point: Point) -> None:
    for factor, log in zip(factors, point, strict=True):
        factor.set(log)


def _at_exponent(search: JointSearch, factors: Sequence[_Factor], p: float, loss: Callable[[], float]) -> float:
    """Fit weights directly and each activation when the first batch reaches it; counts as one evaluation."""
    for factor in factors:
        factor.set(0.0)
        if isinstance(factor.quantizer, WeightQuantizer):
            factor.fit(p)
    waiting: dict[nn.Module, _Factor] = {f.quantizer: f for f in factors if not isinstance(f.quantizer, WeightQuantizer)}

    def fit_on_first_input(quantizer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if (factor := waiting.pop(quantizer, None)) is not None:
            x = args[0].detach().float().reshape(-1)
            if x.numel() > _SAMPLES:
                x = draw(x, _SAMPLES, torch.Generator().manual_seed(0))
            factor.rows = x.reshape(1, -1)
            factor.fit(p)

    with hooked(before=[(quantizer, fit_on_first_input) for quantizer in waiting]):
        value = loss()
    return search.visit(np.array([factor.log for factor in factors]), value)


@contextmanager
def _batch_statistics(model: nn.Module) -> Iterator[None]:
    """BatchNorm normalises by the batch if it has more than one value per channel; running statistics are kept."""
    norms = running_norms(model).values()
    with modes_kept(model), hooked(before=[(norm, _by_batch) for norm in norms]):
        for norm in norms:
            norm.training = True
        with statistics_kept(model):
            yield


def _by_batch(norm: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    norm.training = args[0].numel() > args[0].shape[1]
