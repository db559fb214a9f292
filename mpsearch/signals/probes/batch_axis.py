"""The sample axis of each module's output, found by running two and then three samples.

It is the axis whose length changes from 2m to 3m; the values of the first two samples must not change, which excludes other orders and
networks with interactions between samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.core.errors import ModelError
from mpsearch.core.nested import leaves
from mpsearch.network.inputs import batch_size, call, samples_of
from mpsearch.network.observe import hooked

__all__ = ["FEW", "MORE", "by_sample", "calls_of", "calls_of_few", "first_tensor", "sample_axes", "take", "tensors_of"]

FEW, MORE = 2, 3
"""Numbers of samples of the two passes."""

_WINDOWS = 16
"""Places in a batch that are tried for samples that call all layers."""


def take(inputs: Any, start: int, stop: int) -> Any:
    """Samples `start … stop−1` of a batch of any structure."""
    return samples_of(inputs, slice(start, stop), batch_size(inputs))


def first_tensor(output: Any) -> Tensor | None:
    """The tensor itself, or the first one of a tuple, list or dict."""
    return next(iter(tensors_of(output)), None)


def tensors_of(output: Any) -> list[Tensor]:
    """The tensor itself, or all those of a tuple, list or dict, in order."""
    return [leaf for leaf in leaves(output) if isinstance(leaf, Tensor)]


def by_sample(values: Tensor, axis: int, samples: int) -> Tensor:
    """`[samples, n]`: one row per sample."""
    return values.movedim(axis, 0).reshape(samples, -1)


@torch.no_grad()
def calls_of(model: nn.Module, inputs: Any) -> dict[str, list[Tensor]]:
    """The first floating-point output of every module at every call, by path; modules that were not called are missing.

    Raises:
        ModelError: the forward pass fails.
    """
    seen: dict[str, list[Tensor]] = {}

    def keep(name: str, _module: nn.Module, _args: Any, _kwargs: Any, output: Any) -> None:
        tensor = next((part for part in tensors_of(output) if part.is_floating_point()), None)
        # Cloned, since a later in-place operation would change it.
        seen.setdefault(name, []).append(torch.empty(0) if tensor is None else tensor.clone())

    try:
        with hooked(after=[(module, partial(keep, name)) for name, module in model.named_modules()]):
            call(model, inputs)
    except Exception as error:
        raise ModelError(
            f"the model's forward pass failed on {batch_size(inputs)} samples of the data: {type(error).__name__}: {error}"
        ) from error
    return seen


def calls_of_few(model: nn.Module, inputs: Any, wanted: Iterable[str]) -> tuple[dict[str, list[Tensor]], dict[str, list[Tensor]]]:
    """`calls_of` for two samples and for these and a third; for two alone, or one, if the batch has no more.

    A network whose control flow depends on its input may not call everything for all samples, as a graph network that skips the layers for
    angles where there are none. So samples further on are tried until all wanted modules are called; the best place is taken.

    Args:
        model: in evaluation mode.
        inputs: of one batch.
        wanted: paths of modules.
    """
    wanted, count = set(wanted), batch_size(inputs)
    last = max(count - MORE, 0)
    best: tuple[dict[str, list[Tensor]], dict[str, list[Tensor]]] | None = None
    for start in dict.fromkeys(last * window // (_WINDOWS - 1) for window in range(_WINDOWS)):
        few = calls_of(model, take(inputs, start, min(start + FEW, count)))
        more = calls_of(model, take(inputs, start, start + MORE)) if count >= MORE else {}
        if best is None or len(wanted & few.keys()) > len(wanted & best[0].keys()):
            best = few, more
        if wanted <= best[0].keys():
            break
    assert best is not None  # there is at least one place
    return best


def sample_axes(few: Mapping[str, list[Tensor]], more: Mapping[str, list[Tensor]], names: Iterable[str]) -> dict[str, int] | None:
    """The sample axis of the named modules' outputs; None if one of them has none, so that samples must be passed one by one.

    Args:
        few: `calls_of` for two samples.
        more: `calls_of` for three samples; the first two are the same.
        names: paths of modules.
    """
    axes: dict[str, int] = {}
    for name in names:
        if len(few[name]) != len(more.get(name, ())):
            return None
        found = {_axis(a, b) for a, b in zip(few[name], more[name], strict=True)}
        axis = found.pop()
        if axis is None or found:
            return None
        axes[name] = axis
    return axes


def _axis(few: Tensor, more: Tensor) -> int | None:
    differing = [axis for axis, (a, b) in enumerate(zip(few.shape, more.shape, strict=False)) if a != b]
    if few.dim() != more.dim() or len(differing) != 1:
        return None
    (axis,) = differing
    if few.shape[axis] * MORE != more.shape[axis] * FEW:
        return None
    start = more.narrow(axis, 0, few.shape[axis])
    tolerance = 1e-3 * float(few.abs().amax()) if few.numel() else 0.0
    return axis if bool(((start - few).abs() <= tolerance).all()) else None
