"""The Fisher signal the slow way: sample by sample, with autograd alone."""

from __future__ import annotations

import copy
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mpsearch.core.number_format import NumberFormat, as_format
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import batch_size, call
from mpsearch.network.network import keep_slow_attention
from mpsearch.network.quantizers import attach_act_quantizer
from mpsearch.network.recurrent import follow_weights
from mpsearch.network.trace import trace
from mpsearch.signals import SignalInputs
from mpsearch.signals.probes.batch_axis import take
from mpsearch.tasks.task import Task

Menu = tuple[NumberFormat | int, ...]

FLOAT = 32
"""Bits of float on a menu."""


def prepare(
    model: nn.Module, x: Any, weights: tuple[NumberFormat | int, ...], activations: tuple[NumberFormat | int, ...] = (FLOAT,), **more: Any
) -> SignalInputs:
    """Everything a signal needs, for one batch."""
    space = Space(name="test", weights=weights, activations=activations).resolve(trace(model, x))
    task = more.pop("task", Task.classification())
    return SignalInputs(model=model, space=space, calibration=Calibration.fit(model, space, [x]), batches=[(x, None)], task=task, **more)


class _Nudge(nn.Module):
    """`x + Σ_j α_j δx_j` at α = 0."""

    def __init__(self, calibration: Calibration, name: str, formats: list[NumberFormat]) -> None:
        super().__init__()
        self.calibration, self.name, self.formats = calibration, name, formats
        self.alpha = torch.zeros(len(formats), requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        for alpha, format in zip(self.alpha.unbind(), self.formats, strict=True):
            x = x + alpha * (self.calibration.activation(self.name, format, x.detach()) - x.detach())
        return x


def brute_fisher(inputs: SignalInputs, *, one_by_one: bool = False) -> NDArray[np.float64]:
    """`½ mean_n (Σ ∂loss_n/∂α)²` with `W + Σ_k α_k δW_k` in place of every weight; labels as the signal draws them."""
    model, space = copy.deepcopy(inputs.model).eval(), inputs.space
    keep_slow_attention(model)
    follow_weights(model)
    (x, _), count = inputs.batches[0], batch_size(inputs.batches[0][0])
    generator = torch.Generator().manual_seed(inputs.seed)
    with torch.no_grad():
        parts = [take(x, n, n + 1) for n in range(count)] if one_by_one else [x]
        targets = torch.cat([inputs.task.sample(call(model, part), generator) for part in parts])
    weights = [sorted({c.weight for c in menu}) for menu in space.menus]
    activations = [sorted({c.activation for c in menu}) for menu in space.menus]
    nudges = []
    for layer, formats in zip(space.layers, activations, strict=True):
        nudge = _Nudge(inputs.calibration, layer.name, formats)
        if len(formats) > 1:
            attach_act_quantizer(model.get_submodule(layer.module), cast(Any, nudge))
        nudges.append(nudge)
    values = np.zeros((len(space.layers), len(space.choices)))
    for n in range(count):
        alphas = [torch.zeros(len(formats), requires_grad=True) for formats in weights]
        outputs = _nudged(model, space, inputs.calibration, weights, alphas, take(x, n, n + 1))
        loss = inputs.task.sampled_loss(outputs, targets[n : n + 1]).sum()
        slopes = torch.autograd.grad(loss, [*alphas, *(nudge.alpha for nudge in nudges)], allow_unused=True)
        for row, menu in enumerate(space.menus):
            u, v = (slope if slope is not None else torch.zeros(99) for slope in (slopes[row], slopes[len(alphas) + row]))
            for choice in menu:
                slope = float(u[weights[row].index(choice.weight)]) + float(v[activations[row].index(choice.activation)])
                values[row, space.choices.index(choice)] += 0.5 * slope**2 / count
    return np.where(space.allowed, values, np.nan)


def _nudged(
    model: nn.Module, space: ResolvedSpace, calibration: Calibration, weights: list[list[NumberFormat]], alphas: list[Tensor], x: Any
) -> Tensor:
    replaced: dict[str, Tensor] = {}
    for layer, formats, alpha in zip(space.layers, weights, alphas, strict=True):
        weight = plain = calibration.weight(layer.name, as_format(FLOAT))
        for a, format in zip(alpha.unbind(), formats, strict=True):
            weight = weight + a * (calibration.weight(layer.name, format) - plain)
        replaced |= dict.fromkeys((f"{layer.module}.{layer.parameter}".lstrip("."), *layer.aliases), weight)
    args, kwargs = ((), x) if isinstance(x, dict) else ((x,), {})
    return cast(Tensor, torch.func.functional_call(model, replaced, args, kwargs))
