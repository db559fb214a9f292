"""`GradientHooks`: hooks that turn one forward and one backward pass into per-sample scalars for every layer and bit width.

    u[n, i] = g_n · δy_{n,i}     weights at bits i, g_n the gradient at the layer's output
    v[n, j] = ⟨δx_{n,j}, h_n⟩    input at bits j, h_n the gradient at the layer's input through this layer only

Several calls of a layer add up. Gradients are used while the backward pass runs and freed with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from mpsearch.core.errors import ModelError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import FLOAT
from mpsearch.core.space import ResolvedSpace
from mpsearch.network.calibrate import Calibration
from mpsearch.network.quantizers import ActQuantizer, attach_act_quantizer
from mpsearch.network.recurrent import RECURRENT
from mpsearch.signals.probes.attention import projections
from mpsearch.signals.probes.batch_axis import by_sample, first_tensor, sample_axes, tensors_of
from mpsearch.signals.probes.calling_modules import calling_modules
from mpsearch.signals.probes.products import linear_products, weight_products

__all__ = ["GradientHooks", "worth_keeping"]

_CHUNK = 2**17
"""Values of an activation that are quantized at once, so that temporaries stay in the CPU cache."""

_ALWAYS_KEPT, _NEVER_KEPT = 2**26, 2**30
"""Bytes of the weight changes of the whole network that are kept between batches at most and at least; see `worth_keeping`."""

_ROUNDING = 320
"""Cost of computing one change of a weight, in multiply-accumulates; only the order of magnitude matters."""


class GradientHooks:
    """Hooks on a copy of a model.

    Args:
        model: the copy, frozen; the hooks are not removed.
        space: layers and menus.
        calibration: ranges.
        few: `calls_of` for two samples: the modules that a forward pass calls.
        more: `calls_of` for three samples.
        batch: samples of a batch.

    Attributes:
        u: per layer `[N, Kw]`, columns `weights` of the layer.
        v: per layer `[N, Ka]`, columns `activations` of the layer.
        axes: sample axis by module path; None if some module has none, so that samples must be passed one by one.
    """

    def __init__(
        self,
        model: nn.Module,
        space: ResolvedSpace,
        calibration: Calibration,
        few: Mapping[str, list[Tensor]],
        more: Mapping[str, list[Tensor]],
        batch: int = 1,
    ) -> None:
        self.weights = [sorted({choice.weight for choice in menu} - {FLOAT}) for menu in space.menus]
        self.activations = [sorted({choice.activation for choice in menu} - {FLOAT}) for menu in space.menus]
        self.u: list[Tensor] = []
        self.v: list[Tensor] = []
        self._calibration = calibration
        self._deltas: dict[str, Tensor] = {}
        changes = sum(layer.weights * len(bits) for layer, bits in zip(space.layers, self.weights, strict=True))
        self._keeps = worth_keeping(changes, batch * sum(layer.macs for layer in space.layers))
        self._device = next(model.parameters()).device
        self._samples = 0
        self._listening = False
        users: dict[str, list[tuple[int, Layer, str]]] = {}
        hooked_inputs: set[str] = set()
        for index, layer in enumerate(space.layers):
            if self.activations[index] and layer.module in few:
                input_hook = _InputHook(partial(self._input, index, layer))
                attach_act_quantizer(model.get_submodule(layer.module), cast(ActQuantizer, input_hook))
                hooked_inputs.add(layer.module)
            if self.weights[index]:
                for path, parameter in calling_modules(layer, few):
                    users.setdefault(path, []).append((index, layer, parameter))
        self.axes = sample_axes(few, more, hooked_inputs | users.keys())
        for path, weights in users.items():
            model.get_submodule(path).register_forward_hook(partial(self._output, path, weights), with_kwargs=True)

    @contextmanager
    def listening(self, samples: int) -> Iterator[None]:
        """Reset the sums and record the forward pass of N `samples` in the `with`; calls outside of it are ignored."""
        self._samples, self._listening = samples, True
        self.u = [torch.zeros(samples, len(bits), device=self._device) for bits in self.weights]
        self.v = [torch.zeros(samples, len(bits), device=self._device) for bits in self.activations]
        try:
            yield
        finally:
            self._listening = False

    def _input(self, index: int, layer: Layer, x: Tensor) -> Tensor:
        if not (self._listening and torch.is_grad_enabled() and x.is_floating_point()):
            return x
        # A separate view, whose gradient is only that through this layer.
        hooked_input = (x if x.requires_grad else x.detach().requires_grad_()).view_as(x)
        kept, version = x.detach(), x._version

        @torch.no_grad()
        def add_products(h: Tensor) -> None:
            _check_untouched(layer, kept, version)
            values, slopes = (by_sample(tensor, self._axis(layer.module), self._samples) for tensor in (kept, h))
            size = max(_CHUNK // values.shape[1], 1)
            for start in range(0, self._samples, size):
                piece, slope = values[start : start + size], slopes[start : start + size]
                for column, format in enumerate(self.activations[index]):
                    change = self._calibration.activation(layer.name, format, piece).sub_(piece)
                    self.v[index][start : start + size, column] += change.mul_(slope).sum(1)

        hooked_input.register_hook(add_products)  # type: ignore[no-untyped-call]
        return hooked_input

    def _output(self, path: str, weights: list[tuple[int, Layer, str]], module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        if not (self._listening and torch.is_grad_enabled()):
            return None
        x = first_tensor((args, kwargs))
        version = None if x is None else x._version

        def listened(number: int, axis: int, y: Tensor) -> Tensor:
            replaced = y if y.requires_grad else y.detach().requires_grad_().clone()
            if number and replaced is y:
                replaced = y.view_as(y)  # whose gradient is not that through another output, as that of an LSTM cell's memory would be

            @torch.no_grad()
            def add_products(g: Tensor) -> None:
                attended = projections(module, args, kwargs, g, axis, self._samples) if number == 0 else None
                for index, layer, parameter in weights:
                    _check_untouched(layer, x, version)
                    deltas = self._weight_changes(index, layer)
                    if attended is None:
                        self.u[index] += weight_products(module, parameter, args, kwargs, g, deltas, axis, self._samples, number)
                    for each in attended or ():
                        if each.parameter == parameter:
                            self.u[index] += linear_products(each.x, each.g, deltas[:, each.rows])

            replaced.register_hook(add_products)  # type: ignore[no-untyped-call]
            return replaced

        axes = _axes_of_outputs(module, output, self._axis(path), self._samples)
        for number, (y, axis) in enumerate(zip(tensors_of(output), axes, strict=False)):
            if axis is not None and (replaced := listened(number, axis, y)) is not y:
                output = _with_tensor(output, y, replaced)
        return output

    def _axis(self, path: str) -> int:
        return (self.axes or {}).get(path, 0)

    def _weight_changes(self, index: int, layer: Layer) -> Tensor:
        if layer.name in self._deltas:
            return self._deltas[layer.name]
        weight = self._calibration.weight(layer.name, FLOAT)
        deltas = torch.stack([self._calibration.weight(layer.name, format) - weight for format in self.weights[index]])
        if self._keeps:
            self._deltas[layer.name] = deltas
        return deltas


def worth_keeping(changes: int, macs: int) -> bool:
    """Whether weight changes are kept between batches: if they are few, or if to compute them takes more than a tenth of a batch.

    Args:
        changes: of single weights, in all formats.
        macs: of one forward pass of a batch; a backward pass takes twice as many.
    """
    return 4 * changes <= _ALWAYS_KEPT or (4 * changes <= _NEVER_KEPT and 10 * _ROUNDING * changes > 3 * macs)


class _InputHook(nn.Module):
    """Takes the place of an input quantizer, so that it gets exactly the tensors to quantize."""

    def __init__(self, hook: partial[Tensor]) -> None:
        super().__init__()
        self._hook = hook

    def forward(self, x: Tensor) -> Tensor:
        return self._hook(x)


def _check_untouched(layer: Layer, x: Tensor | None, version: int | None) -> None:
    if x is not None and x._version != version:
        raise ModelError(
            f"layer '{layer.name}': its input is changed in place after the layer has read it; make that operation out of place"
        )


def _axes_of_outputs(module: nn.Module, output: Any, axis: int, samples: int) -> list[int | None]:
    """Sample axis of each output that the loss may depend on: the first one that has gradients, and of a recurrent module its states."""
    if not isinstance(module, RECURRENT):
        kinds = [tensor.is_floating_point() for tensor in tensors_of(output)]
        return [*[None] * kinds.index(True), axis] if True in kinds else []
    states = tensors_of(output)[1:]
    if isinstance(output, tuple) and isinstance(output[0], PackedSequence):  # samples come one by one; its lengths are no outputs
        return [axis, *(0 if state.is_floating_point() else None for state in states)]
    of_state = 0 if isinstance(module, nn.RNNCellBase) or samples == 1 else 1
    return [axis, *(of_state if state.dim() == 3 or of_state == 0 else None for state in states)]


def _with_tensor(output: Any, old: Tensor, new: Tensor) -> Any:
    if output is old:
        return new
    if isinstance(output, dict):
        return type(output)((key, _with_tensor(value, old, new)) for key, value in output.items())
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return type(output)(*(_with_tensor(value, old, new) for value in output))
    if isinstance(output, tuple | list):
        return type(output)(_with_tensor(value, old, new) for value in output)
    return output
