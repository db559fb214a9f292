"""The tensors of a model, each once, although a module or a tensor may stand under several names; and the memory of a tensor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["distinct_state", "memory_of"]


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
