"""The tensors of a model, each once, although a tensor may stand under several names; their memory, and copies that share it."""

from __future__ import annotations

import copy
from collections.abc import Collection

import torch
from torch import Tensor, nn

__all__ = ["distinct_state", "memory_of", "sharing_copy"]


def distinct_state(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of the `state_dict`, each under the first of its names; they are the model's own, not copies."""
    first: dict[int, str] = {}
    state: dict[str, Tensor] = model.state_dict(keep_vars=True)
    for name, tensor in state.items():
        first.setdefault(id(tensor), name)
    return {name: state[name] for name in first.values()}


def memory_of(tensor: Tensor) -> int | None:
    """Address of a tensor's memory, which views share; None if it has none of its own, such as a sparse one or one under `vmap`."""
    if tensor.layout != torch.strided or tensor.is_nested or tensor.device.type == "meta":
        return None
    try:
        return tensor.untyped_storage().data_ptr() or None
    except (RuntimeError, NotImplementedError):  # torch has no other way to ask
        return None


def sharing_copy(model: nn.Module, own: Collection[str] = ()) -> nn.Module:
    """A copy of the modules and buffers whose parameters are new ones over the memory of the model's, so that it takes none of its own.

    Whoever writes to a parameter of either in place changes both; to replace one, or to move or convert the copy, changes the copy alone.

    Args:
        model: any module that can be copied.
        own: names in its `state_dict` of parameters that are copied, since they are to be written to.
    """
    held = {id(tensor) for name, tensor in model.state_dict(keep_vars=True).items() if name in own} if own else set()
    memo: dict[int, object] = {
        id(parameter): nn.Parameter(parameter.detach(), parameter.requires_grad)
        for parameter in model.parameters()
        if type(parameter) is nn.Parameter and not parameter.__dict__ and id(parameter) not in held  # others know best how they are copied
    }
    copied: nn.Module = copy.deepcopy(model, memo)
    return copied
