"""`Unregistered`: tensors that modules hold outside of the `state_dict`, such as layers in a Python list; no file would hold them."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.network.state import memory_of

__all__ = ["Unregistered"]

_OWN = frozenset(vars(nn.Module()))
_DEPTH = 4
_NOT_SEARCHED = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType, str, bytes, torch.Generator)


class Unregistered:
    """Tensors that are reachable from a model's modules but are neither parameters nor buffers, each with where it stands.

    Args:
        model: its attributes are searched: lists, tuples, dictionaries, modules and other objects in them.
    """

    def __init__(self, model: nn.Module) -> None:
        registered = {memory_of(tensor) for tensor in (*model.parameters(), *model.buffers())}
        own = set(map(id, model.modules()))
        self._places: dict[int, str] = {}
        self._held: list[Tensor] = []  # a freed address could be another tensor's
        seen: set[int] = set(own)
        for path, module in model.named_modules():
            for name, value in vars(module).items():
                if name in _OWN:
                    continue
                for place, tensor in _tensors(value, f"{path}.{name}".lstrip("."), seen, _DEPTH):
                    memory = memory_of(tensor)
                    if memory and memory not in registered:
                        self._places.setdefault(memory, place)
                        self._held.append(tensor)

    def place_of(self, tensor: Tensor) -> str | None:
        """Where a tensor stands, such as `blocks[0].weight`; None of any other tensor."""
        memory = memory_of(tensor) if self._places else None
        return None if memory is None else self._places.get(memory)


def _tensors(value: Any, place: str, seen: set[int], depth: int) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield place, value
        return
    if depth == 0 or id(value) in seen or isinstance(value, _NOT_SEARCHED):
        return
    inner: Iterator[tuple[str, Any]]
    if isinstance(value, nn.Module):
        seen.add(id(value))
        state = {**dict(value.named_parameters()), **dict(value.named_buffers())}
        inner = ((f"{place}.{name}", tensor) for name, tensor in state.items())
    elif isinstance(value, Mapping):
        inner = ((f"{place}[{key!r}]", each) for key, each in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        inner = ((f"{place}[{index}]", each) for index, each in enumerate(value))
    elif hasattr(value, "__dict__"):
        seen.add(id(value))
        inner = ((f"{place}.{name}", each) for name, each in vars(value).items())
    else:
        return
    for where, each in inner:
        yield from _tensors(each, where, seen, depth - 1)
