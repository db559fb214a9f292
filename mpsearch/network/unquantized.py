"""`unquantized`: every parameter and buffer that stays float whatever the bits, with its bytes in the file and the reason."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mpsearch.core.unquantized import Unquantized
from mpsearch.network.baked import rest_of_state
from mpsearch.network.batchnorm import owner_of
from mpsearch.network.survey import Survey
from mpsearch.network.watch import FUSED

__all__ = ["unquantized"]

_NAMED = 3
_HALF, _SINGLE = 2, 4


def unquantized(model: nn.Module, survey: Survey) -> tuple[Unquantized, ...]:
    """Groups of tensors by reason, the largest first.

    Args:
        model: as surveyed.
        survey: its layers, and which parameters the pass used for what.
    """
    found: dict[str, list[tuple[int, str, int]]] = {}
    for layer in survey.layers:
        if layer.bias_elements:
            reason, width = ("bias of a folded BatchNorm, in half precision", _HALF) if layer.norm else ("bias", _SINGLE)
            name = f"{layer.module}.bias".lstrip(".")
            found.setdefault(reason, []).append((width * layer.bias_elements, name, layer.bias_elements))
    state = model.state_dict(keep_vars=True)
    for name in rest_of_state(model, survey.layers):
        tensor = state[name]
        size = tensor.numel() * max(tensor.element_size(), _SINGLE if tensor.is_floating_point() else 1)
        if size:
            parameters = tensor.numel() if isinstance(tensor, nn.Parameter) else 0
            found.setdefault(_reason(model, name, tensor, survey), []).append((size, name, parameters))
    groups = [_group(reason, sorted(tensors, reverse=True)) for reason, tensors in found.items()]
    return tuple(sorted(groups, key=lambda group: -group.bytes))


def _group(reason: str, tensors: list[tuple[int, str, int]]) -> Unquantized:
    return Unquantized(
        reason=reason,
        tensors=len(tensors),
        bytes=sum(size for size, _, _ in tensors),
        parameters=sum(values for _, _, values in tensors),
        largest=tuple(name for _, name, _ in tensors[:_NAMED]),
        largest_bytes=tuple(size for size, _, _ in tensors[:_NAMED]),
    )


def _reason(model: nn.Module, name: str, tensor: Tensor, survey: Survey) -> str:
    owner, leaf = owner_of(model, name)
    if "Norm" in type(owner).__name__:
        return "normalisation"
    if not isinstance(tensor, nn.Parameter):
        return "buffer"
    if isinstance(owner, torch.jit.ScriptModule):
        return "parameter of a scripted module, which is not covered"
    used = survey.used.get(id(tensor), frozenset())
    if not used:
        return "parameter that the forward pass does not use"
    if leaf.startswith("bias") or leaf.endswith("bias"):
        return "bias"
    if used & FUSED:
        return f"parameter in {' and '.join(sorted(used & FUSED))}, which is not covered"
    return "parameter that enters no matrix product by itself"
