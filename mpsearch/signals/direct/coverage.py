"""`coverage`: each layer's share of the damage when all layers are quantized together, corrected for saturation.

For every choice k the whole network moves from float (t = 0) to k (t = 1) along a straight line, and the divergence D of its outputs from
the float outputs is attributed to the layers by Aumann-Shapley values:

    φ_{l,k} = mean over t of ⟨∂D/∂W_l, Q_k(W_l) − W_l⟩ + ⟨∂D/∂x_l, Q_k(x_l) − x_l⟩        Σ_l φ_{l,k} → D(all at k)

Under the coverage model `D(S) = C (1 − e^{−Σ_{l∈S} b_l})` (see `saturation`) they determine the b:

    value[l, k] = C · b_{l,k}     nats

The solver needs only the sum, which ranks allocations as their damage does and equals small damages; in general the damage is
`saturation.damage(total, C)`, with the ceiling C in `cost["ceiling"]`. C is 1.3 times the largest measured D, or the divergence of
outputs that ignore their input if that is larger, and is raised until every path has its b. Negative φ count as zero (`cost["clipped"]` is
their share of all |φ|), each path's φ are scaled to the D measured at its end, and no choice costs less than one with more bits. No labels
are read.

For a layer that cannot take k, the path leads to the nearest choice on its menu. If the menus have more than 16 choices in total, there are
separate paths for weight bits and for activation bits, and the two values add up.
Differences from the implementation in NVIDIA Model Optimizer: the path is in weights and inputs instead of layer outputs (the same line if
only weights move), so nothing is replayed and attention, shared and tied weights are no special cases; rounded inputs pass gradients
straight through; the shares are inverted by their exact integral instead of its midpoint; and every path is scaled to its own measured end
instead of all by one factor.

Source: the coverage model of Hill, Saturation Makes Quantization Error Additive, arXiv 2607.12266; path integrals as in Sundararajan, Taly
and Yan, arXiv 1703.01365.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT
from mpsearch.core.running_maximum import running_maximum
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.network.inputs import call
from mpsearch.signals import SIGNALS
from mpsearch.signals.base import Signal, SignalInputs, by_choice, finite_outputs, private_copy
from mpsearch.signals.probes.batch_axis import FEW, calls_of, take
from mpsearch.signals.probes.calling_modules import check_called
from mpsearch.signals.probes.quantization_path import QuantizationPath
from mpsearch.signals.probes.saturation import coefficients, common_ceiling
from mpsearch.signals.probes.separate import JOINT, parts, settings
from mpsearch.tasks.outputs import floats_mapped

__all__ = ["COVERAGE", "POINTS", "Shares", "coverage", "shares"]

POINTS = 2
"""Number of points on each path with gradients: the midpoints of as many equal pieces."""

_HEADROOM = 1.3

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Attribution of the damage at the end of each path to the layers.

    Args:
        choices: P ends of paths, without float.
        values: φ `[P, L]` nats, of either sign.
        damages: `[P]` nats, measured at the ends.
        ignorant: nats, the divergence of outputs that are the same for all inputs: their mean over the batch.
    """

    choices: tuple[Choice, ...]
    values: Floats
    damages: Floats
    ignorant: float


def coverage(inputs: SignalInputs) -> Table:
    """Coefficients of the coverage model times its ceiling, `[L, C]` nats.

    Args:
        inputs: `seed` is not used.

    Returns:
        Table; `cost` has the `ceiling` C in nats and the `clipped` share of φ besides passes.

    Raises:
        ModelError: the float or the quantized outputs are not finite.
    """
    space = inputs.space
    joint = len(space.choices) <= JOINT
    found = shares(replace(inputs, space=_apart(space)))
    kept = np.maximum(found.values, 0.0)
    sums = kept.sum(1, keepdims=True)
    scaled = list(kept * np.divide(found.damages[:, None], sums, out=np.zeros_like(sums), where=sums > 0))
    ceiling = common_ceiling(scaled, max(_HEADROOM * float(found.damages.max(initial=0.0)), found.ignorant))
    b = dict(zip(found.choices, (_coefficients(phi, ceiling) for phi in scaled), strict=True))
    values = by_choice(space, lambda row, choice: ceiling * sum(b[part][row] for part in parts(choice, joint=joint)))
    everything = np.abs(found.values).sum()
    forwards, backwards = _passes(space, len(inputs.batches))
    cost = {
        "forwards": forwards,
        "backwards": backwards,
        "ceiling": ceiling,
        "clipped": float((kept - found.values).sum() / everything) if everything else 0.0,
    }
    return space.table("coverage", "nats", running_maximum(values, space.choices), cost=cost)


def _apart(space: ResolvedSpace) -> ResolvedSpace:
    """The space with weights and activations on menus of their own, if there are too many pairs."""
    if len(space.choices) <= JOINT:
        return space
    return replace(space, menus=tuple(settings(menu, joint=False) or (Choice(FLOAT),) for menu in space.menus))


def _ends(space: ResolvedSpace) -> tuple[Choice, ...]:
    return tuple(choice for choice in space.choices if choice != Choice(FLOAT))


def _passes(space: ResolvedSpace, batches: int) -> tuple[float, float]:
    paths = len(_ends(_apart(space)))
    return 1.0 + paths * (POINTS + 1.0), float(paths * POINTS)


def shares(inputs: SignalInputs, *, points: int = POINTS) -> Shares:
    """φ of every path, and the damage at its end.

    Args:
        inputs: batches, ranges, and the space whose choices are the ends of paths.
        points: gradients per path.
    """
    space, images = inputs.space, inputs.images
    ends = _ends(space)
    values, damages = np.zeros((len(ends), len(space.layers))), np.zeros(len(ends))
    passes, done = (1 + len(ends)) * len(inputs.batches), 0
    with private_copy(inputs.model) as model, torch.enable_grad():
        check_called(space.layers, calls_of(model, take(inputs.batches[0][0], 0, FEW)))
        references, ignorant = [], 0.0
        for batch, _ in inputs.batches:
            references.append(_outputs(model, batch))
            ignorant += _divergence(inputs, references[-1], floats_mapped(references[-1], _mean_of_samples))
            done += 1
            inputs.report(done, passes)
        quantization_path = QuantizationPath(model, space, inputs.calibration)
        begun = _resumed(inputs, values, damages)
        done += begun * len(inputs.batches)
        for path, end in list(enumerate(ends))[begun:]:
            quantization_path.aim(space.uniform(end))
            for (batch, _), reference in zip(inputs.batches, references, strict=True):
                for point in range(points):
                    quantization_path.go((point + 0.5) / points)
                    values[path] += quantization_path.slopes(inputs.task.divergence(reference, call(model, batch)).sum()) / points
                quantization_path.go(1.0)
                damages[path] += _divergence(inputs, reference, _outputs(model, batch))
                done += 1
                inputs.report(done, passes)
            inputs.partial.keep(partial(_kept, path + 1, values, damages))
    return Shares(choices=ends, values=values / images, damages=np.maximum(damages / images, 0.0), ignorant=ignorant / images)


def _kept(paths: int, values: Floats, damages: Floats) -> dict[str, Any]:
    return {"paths": paths, "values": values.tolist(), "damages": damages.tolist()}


def _resumed(inputs: SignalInputs, values: Floats, damages: Floats) -> int:
    """Fill the arrays with those of an interrupted computation; returns the paths done."""

    def load(document: Any) -> int:
        loaded = np.array(document["values"], dtype=np.float64).reshape(values.shape)
        values[:], damages[:] = loaded, np.array(document["damages"], dtype=np.float64).reshape(damages.shape)
        return int(document["paths"])

    return inputs.partial.held(load) or 0


@torch.no_grad()
def _outputs(model: nn.Module, batch: object) -> Any:
    return finite_outputs(model, batch, "the network's")


@torch.no_grad()
def _divergence(inputs: SignalInputs, reference: Any, outputs: Any) -> float:
    return float(inputs.task.divergence(reference, outputs).double().sum())


def _mean_of_samples(outputs: Tensor) -> Tensor:
    return outputs.mean(0, keepdim=True).expand_as(outputs) if outputs.dim() else outputs


def _coefficients(phi: Floats, ceiling: float) -> Floats:
    found = coefficients(phi, ceiling)
    return phi / ceiling if found is None else found


COVERAGE = SIGNALS.register("coverage")(
    Signal(
        name="coverage",
        paper="Hill, Saturation Makes Quantization Error Additive: A Coverage Model with a Certificate, arXiv 2607.12266",
        description="each layer's share of the damage of quantizing all layers together, corrected for saturation",
        function=coverage,
        passes=_passes,
    )
)
