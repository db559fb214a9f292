"""`hessian`: mean curvature of the loss along each layer's weights, times their squared rounding error.

    value[l, (i, j)] = ½ · Tr(H_l)/N_l · ‖Q_i(W_l) − W_l‖²        H_l: Hessian of the mean loss in the N_l weights of layer l, true labels

The expected second-order rise of the loss for a rounding error of random direction. Published without the ½, which gives nats here.
**Weights only**: activation bits do not change the values, and a choice with float weights costs nothing; if activations are quantized,
combine it with a signal that includes them.

The trace is Hutchinson's, `Tr H_l ≈ mean_v vₗᵀ(Hv)ₗ` with one v ∈ {±1}^N over all layers at once, so one Hessian-vector product serves all
layers. Probes are distributed over the batches, each with the Hessian of its own batch: about `PROBES` in total, at least one per batch. A
trace counts at least as much as its standard error: otherwise the noise of the probes (or negative curvature) could make a layer free;
`cost["floored"]` counts these layers.

Source: HAWQ-V2 (Dong et al., NeurIPS 2020, arXiv 1911.03852).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mpsearch.core.errors import ModelError
from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.network.inputs import batch_size
from mpsearch.signals import SIGNALS
from mpsearch.signals.base import Signal, SignalInputs, by_choice, finite_outputs, private_copy
from mpsearch.signals.probes.batch_axis import FEW, calls_of, take
from mpsearch.signals.probes.calling_modules import check_called

__all__ = ["HESSIAN", "PROBES", "hessian", "probed_traces"]

PROBES = 64
"""Number of random vectors in total."""


def hessian(inputs: SignalInputs) -> Table:
    """Hutchinson trace of every layer's Hessian times half its mean squared rounding error, `[L, C]` nats; weights only.

    Args:
        inputs: `seed` draws the probes, and the labels of batches without targets.

    Returns:
        Table; `cost` counts a Hessian-vector product as two backward passes.

    Raises:
        ModelError: the outputs are not finite, or the network cannot be differentiated twice.
    """
    space = inputs.space
    probes = _probes(len(inputs.batches))
    with private_copy(inputs.model, shared=True) as model, torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        check_called(space.layers, calls_of(model, take(inputs.batches[0][0], 0, FEW)))
        weights = [getattr(model.get_submodule(layer.module), layer.parameter).requires_grad_() for layer in space.layers]
        generator = torch.Generator(weights[0].device).manual_seed(inputs.seed)
        samples = _resumed(inputs, generator, (probes, len(weights)))
        for number, (batch, targets) in list(enumerate(inputs.batches))[len(samples) :]:
            samples.append(_probed(_loss(model, batch, targets, inputs, generator), weights, probes, generator))
            inputs.report(number + 1, len(inputs.batches))
            inputs.partial.keep(lambda: {"samples": [done.tolist() for done in samples], "generator": generator.get_state().tolist()})
    shares = np.repeat([batch_size(batch) for batch, _ in inputs.batches], probes) / (probes * inputs.images)
    estimates = np.concatenate(samples)
    means = shares @ estimates
    errors = np.sqrt(shares**2 @ (estimates - means) ** 2)
    curvature = np.maximum(means, errors) / np.array([layer.weights for layer in space.layers])
    values = by_choice(space, lambda row, choice: 0.5 * curvature[row] * _squared_error(inputs, space.names[row], choice.weight))
    forwards, backwards = _passes(space, len(inputs.batches))
    cost = {"forwards": forwards, "backwards": backwards, "floored": float((means < errors).sum())}
    return space.table("hessian", "nats", values, cost=cost)


def _resumed(inputs: SignalInputs, generator: torch.Generator, shape: tuple[int, int]) -> list[NDArray[np.float64]]:
    """The samples of an interrupted computation; the generator continues where that one stopped."""

    def load(document: Any) -> list[NDArray[np.float64]]:
        samples = [np.array(batch, dtype=np.float64).reshape(shape) for batch in document["samples"]]
        generator.set_state(torch.tensor(document["generator"], dtype=torch.uint8))
        return samples

    return inputs.partial.held(load) or []


def _probes(batches: int) -> int:
    return math.ceil(PROBES / batches)


def _passes(space: ResolvedSpace, batches: int) -> tuple[float, float]:
    return 1.0, 1.0 + 2.0 * _probes(batches)


def probed_traces(loss: Tensor, weights: Sequence[Tensor], probes: int, generator: torch.Generator) -> NDArray[np.float64]:
    """`vₗᵀ(Hv)ₗ` of each probe, `[probes, L]`: their means estimate the traces of the diagonal Hessian blocks, one per weight.

    Args:
        loss: `[]`, with a graph that can be differentiated twice.
        weights: L leaves of it; one that the loss does not depend on has trace 0.
        probes: number of Rademacher vectors.
        generator: draws them, on the weights' device.
    """
    gradients = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
    curved = [(row, g) for row, g in enumerate(gradients) if g is not None and g.requires_grad]
    estimates = torch.zeros(probes, len(weights), dtype=torch.float64, device=loss.device)
    for probe in range(probes if curved else 0):
        v = [torch.randint(2, w.shape, generator=generator, device=w.device).to(w.dtype).mul_(2).sub_(1) for w in weights]
        products = torch.autograd.grad([g for _, g in curved], weights, [v[row] for row, _ in curved], retain_graph=True, allow_unused=True)
        for row, (a, product) in enumerate(zip(v, products, strict=True)):
            if product is not None:
                estimates[probe, row] = (a * product).double().sum()
    return estimates.cpu().numpy()


def _probed(loss: Tensor, weights: Sequence[Tensor], probes: int, generator: torch.Generator) -> NDArray[np.float64]:
    try:
        return probed_traces(loss, weights, probes, generator)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise ModelError(
            f"the network's loss cannot be differentiated twice ({str(error).splitlines()[0]}); use the signal 'fisher' instead"
        ) from error


def _loss(model: nn.Module, batch: Any, targets: Tensor | None, inputs: SignalInputs, generator: torch.Generator) -> Tensor:
    outputs = finite_outputs(model, batch)
    if targets is None:
        return inputs.task.sampled_loss(outputs, inputs.task.sample(outputs, generator)).mean()
    return inputs.task.loss(outputs, targets)


def _squared_error(inputs: SignalInputs, name: str, format: NumberFormat) -> float:
    if format.is_float:
        return 0.0
    error = inputs.calibration.weight(name, format) - inputs.calibration.weight(name, FLOAT)
    return float(error.double().square().sum())


HESSIAN = SIGNALS.register("hessian")(
    Signal(
        name="hessian",
        paper="Dong et al., HAWQ-V2: Hessian Aware trace-Weighted Quantization of Neural Networks, NeurIPS 2020, arXiv 1911.03852",
        description="mean Hessian eigenvalue of each layer's weights times their squared rounding error; weights only",
        function=hessian,
        passes=_passes,
    )
)
