"""`measured`: the measured divergence of the outputs when a single layer takes one choice.

    value[l, k] = mean_n D(f(x_n) ‖ f_{l,k}(x_n))      D: the task's divergence, nats

Needs no labels. About `1 + Σ_l |menu_l|` passes; each starts at the changed layer (`PrefixCache`), which saves about half of the work.
A layer with more than 16 choices is measured at weight bits and at activation bits separately, and the two values add up; up to 16
choices, every pair is measured.

Source: the single-layer terms Ω_i of CLADO (Deng et al., Mixed-Precision Quantization with Cross-Layer Dependencies, 2023,
arXiv 2307.05657), with a divergence from the float outputs in place of the loss.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.core.choice import Choice
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call
from mpsearch.network.quantizers import FixedActQuantizer, attach_act_quantizer
from mpsearch.signals import SIGNALS
from mpsearch.signals.base import Signal, SignalInputs, by_choice, private_copy
from mpsearch.signals.probes.calling_modules import calling_modules, check_called
from mpsearch.signals.probes.prefix import PrefixCache
from mpsearch.signals.probes.separate import JOINT, parts, settings

__all__ = ["MEASURED", "measured"]


def measured(inputs: SignalInputs, *, cached: bool = True) -> Table:
    """Divergence of the outputs with one layer quantized, `[L, C]` nats.

    Args:
        inputs: `seed` is not used.
        cached: whether each pass starts at the changed layer; the values are the same.

    Returns:
        Table; `cost` counts each pass as one forward, wherever it starts.
    """
    space = inputs.space
    joint = [len(menu) <= JOINT for menu in space.menus]
    sums = [dict.fromkeys(measured_settings, 0.0) for measured_settings in _settings(space)]
    steps = len(inputs.batches) * len(space.layers)
    done = begun = _resumed(inputs, sums)
    with torch.no_grad(), private_copy(inputs.model) as model:
        switches = [_Switch(model, layer, inputs.calibration, menu) for layer, menu in zip(space.layers, space.menus, strict=True)]
        with PrefixCache(model).attached() as cache:
            for number, (batch, _) in enumerate(inputs.batches):
                if (number + 1) * len(space.layers) <= begun:
                    continue
                run = partial(call, model, batch)
                reference = cache.record(run)
                check_called(space.layers, cache.called)
                for row, (layer, switch) in enumerate(zip(space.layers, switches, strict=True)):
                    if number * len(space.layers) + row < begun:
                        continue
                    start = min(cache.first_call(path) for path, _ in calling_modules(layer, cache.called)) if cached else 0
                    for choice in sums[row]:
                        switch.set(choice)
                        sums[row][choice] += float(inputs.task.divergence(reference, cache.replay(start, run)).double().sum())
                    switch.set(Choice(FLOAT))
                    done += 1
                    inputs.report(done, steps)
                    inputs.partial.keep(partial(_kept, done, sums))

    def value(row: int, choice: Choice) -> float:
        total = sum(sums[row][part] for part in parts(choice, joint=joint[row]))
        return max(total, 0.0) / inputs.images  # NaN stays NaN

    forwards, backwards = _passes(space, len(inputs.batches))
    return space.table("measured", "nats", by_choice(space, value), cost={"forwards": forwards, "backwards": backwards})


def _resumed(inputs: SignalInputs, sums: list[dict[Choice, float]]) -> int:
    """Fill `sums` with those of an interrupted computation; returns the layers done, over all batches."""

    def load(document: Any) -> tuple[int, list[dict[Choice, float]]]:
        rows = [dict(zip(row, map(float, values), strict=True)) for row, values in zip(sums, document["sums"], strict=True)]
        return int(document["done"]), rows

    done, rows = inputs.partial.held(load) or (0, sums)
    sums[:] = rows
    return done


def _kept(done: int, sums: list[dict[Choice, float]]) -> dict[str, Any]:
    return {"done": done, "sums": [list(row.values()) for row in sums]}


def _settings(space: ResolvedSpace) -> list[tuple[Choice, ...]]:
    """What is measured of each layer."""
    return [settings(menu, joint=len(menu) <= JOINT) for menu in space.menus]


def _passes(space: ResolvedSpace, batches: int) -> tuple[float, float]:
    return 1.0 + sum(map(len, _settings(space))), 0.0


class _Switch:
    """Sets one layer of the copy to a choice, in place, so that shared weights follow."""

    def __init__(self, model: nn.Module, layer: Layer, calibration: Calibration, menu: tuple[Choice, ...]) -> None:
        module = model.get_submodule(layer.module)
        self._layer, self._calibration = layer, calibration
        self._weight: Tensor = getattr(module, layer.parameter)
        self._float = self._weight.detach().clone()
        self._quantizer: FixedActQuantizer | None = None
        if any(not choice.activation.is_float for choice in menu):
            self._quantizer = FixedActQuantizer().to(self._weight.device)
            attach_act_quantizer(module, self._quantizer)

    def set(self, choice: Choice) -> None:
        """Set weight and input to the choice."""
        self._weight.copy_(self._float if choice.weight.is_float else self._calibration.weight(self._layer.name, choice.weight))
        if self._quantizer is not None:
            self._calibration.set_input(self._quantizer, self._layer.name, choice.activation)


MEASURED = SIGNALS.register("measured")(
    Signal(
        name="measured",
        paper="Deng et al., Mixed-Precision Quantization with Cross-Layer Dependencies, arXiv 2307.05657 (its single-layer terms)",
        description="divergence of the outputs with one layer quantized, measured; a pass for every layer and choice",
        function=measured,
        passes=_passes,
    )
)
