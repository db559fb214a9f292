"""`fisher`: directional output-Fisher, the default signal; one forward and one backward pass for all layers and choices.

    value[l, (i, j)] = ½ E_n[(g_n · δy_{l,i,j,n})²]

`g_n` is the gradient of sample n's own loss at the output of layer l, under a label drawn from the network's own prediction (the true
Fisher: no labels are needed, and an overfitted network does not look flat); `δy` is the change of the layer's output when only its weight
is rounded to i bits and its input to j; of the projections of `nn.MultiheadAttention`, the linear part of that change. Both come from
per-sample scalars, `g_n · δy = u_{n,i} + v_{n,j}`, so a menu of Kw × Ka choices costs Kw + Ka. The second-order product δW · δx inside a
layer is dropped, and so are correlations between layers: the values of tied layers add.

Source: the Fisher along the quantization error is that of MPQCO (Chen et al., ICCV 2021, arXiv 2110.06554; its coefficients are UNVERIFIED,
the ½ here gives nats), at layer outputs as in BRECQ (Li et al., ICLR 2021, arXiv 2102.05426); reason for drawn labels: Kunstner et al.,
NeurIPS 2019, arXiv 1905.12558.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mpsearch.core.choice import Choice
from mpsearch.core.table import Table
from mpsearch.network.batchnorm import fix_statistics
from mpsearch.network.inputs import batch_size
from mpsearch.signals import SIGNALS
from mpsearch.signals.base import Signal, SignalInputs, finite_outputs, private_copy
from mpsearch.signals.probes.batch_axis import calls_of_few, take
from mpsearch.signals.probes.calling_modules import check_called
from mpsearch.signals.probes.gradient_hooks import GradientHooks
from mpsearch.tasks.outputs import float_tensors

__all__ = ["FISHER", "fisher"]


def fisher(inputs: SignalInputs) -> Table:
    """Directional output-Fisher of every layer and choice, `[L, C]` nats.

    Args:
        inputs: `seed` draws the labels.

    Returns:
        Table; `cost` counts one forward and one backward pass over the images.

    Raises:
        ModelError: the forward pass fails, its outputs are not finite, or the network changes a layer's input in place.
    """
    choices, sums = inputs.space.choices, np.zeros(inputs.space.allowed.shape)
    with private_copy(inputs.model, shared=True) as model:
        hooks = _attach_hooks(model, inputs)
        generators: dict[torch.device, torch.Generator] = {}
        for number, (batch, _) in enumerate(inputs.batches):
            for part in _parts(batch, whole=hooks.axes is not None):
                _pass(model, hooks, part, inputs, generators)
                sums += _squares(hooks, choices)
            inputs.report(number + 1, len(inputs.batches))
    return inputs.space.table("fisher", "nats", 0.5 * sums / inputs.images, cost={"forwards": 1.0, "backwards": 1.0})


def _attach_hooks(model: nn.Module, inputs: SignalInputs) -> GradientHooks:
    first = inputs.batches[0][0]
    fix_statistics(model, first)  # a sample's own gradient is defined only where samples do not depend on each other
    few, more = calls_of_few(model, first, [layer.module for layer in inputs.space.layers if layer.input_elements and layer.axes is None])
    check_called(inputs.space.layers, few)
    return GradientHooks(model, inputs.space, inputs.calibration, few, more, batch_size(first))


def _parts(batch: Any, *, whole: bool) -> Iterator[Any]:
    if whole:
        yield batch
        return
    for start in range(batch_size(batch)):
        yield take(batch, start, start + 1)


def _pass(model: nn.Module, hooks: GradientHooks, part: Any, inputs: SignalInputs, generators: dict[torch.device, torch.Generator]) -> None:
    with torch.enable_grad(), hooks.listening(batch_size(part)):
        outputs = finite_outputs(model, part)
    tensors = float_tensors(outputs)
    if not any(tensor.requires_grad for tensor in tensors):
        return
    device = tensors[0].device
    generator = generators.setdefault(device, torch.Generator(device).manual_seed(inputs.seed))
    with torch.enable_grad():
        losses: Tensor = inputs.task.sampled_loss(outputs, inputs.task.sample(outputs, generator))
        if losses.requires_grad:  # the layers may reach other outputs than those that count
            losses.sum().backward()  # type: ignore[no-untyped-call]


def _squares(hooks: GradientHooks, choices: tuple[Choice, ...]) -> NDArray[np.float64]:
    """`Σ_n (u_{n,i} + v_{n,j})²`, `[L, C]`; float is a column of zeros."""
    sums = np.zeros((len(hooks.u), len(choices)))
    for row, (u, v) in enumerate(zip(hooks.u, hooks.v, strict=True)):
        by_weight = dict(zip(hooks.weights[row], u.double().cpu().numpy().T, strict=True))
        by_act = dict(zip(hooks.activations[row], v.double().cpu().numpy().T, strict=True))
        zeros = np.zeros(len(u))
        for column, choice in enumerate(choices):
            slopes = by_weight.get(choice.weight, zeros) + by_act.get(choice.activation, zeros)
            sums[row, column] = slopes @ slopes
    return sums


FISHER = SIGNALS.register("fisher")(
    Signal(
        name="fisher",
        paper="Chen et al., Towards Mixed-Precision Quantization of Neural Networks via Constrained Optimization, arXiv 2110.06554",
        description="one backward pass: squared slope of each sample's loss along each layer's quantization error",
        function=fisher,
        passes=lambda space, batches: (1.0, 1.0),
    )
)
