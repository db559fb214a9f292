"""`fingerprint`: the identity of a network is its structure and what it computes, not the name of its factory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mpsearch.core.nested import leaves
from mpsearch.data.fingerprint import content_digest
from mpsearch.network.inputs import call
from mpsearch.network.modes import evaluating, modes_kept

__all__ = ["fingerprint", "weights_digest"]

_LITERALS = (bool, int, float, str, type(None))


def fingerprint(model: nn.Module, inputs: Any) -> str:
    """Digest of the module tree with its settings, the names and shapes of parameters and buffers, and the operations of one pass.

    Equal for two networks that differ in their weights alone; a constant tensor that is neither a parameter nor a buffer counts by its
    values. Comments, names of functions and other text of the code do not matter.

    Args:
        model: run once in evaluation mode, without gradients; its modes are restored.
        inputs: a batch on the model's device, whose shape and types count.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, module in model.named_modules(remove_duplicate=False):
        settings = sorted((key, value) for key, value in vars(module).items() if _is_literal(value) and key != "training")
        digest.update(repr((name, type(module).__qualname__, module.extra_repr(), settings)).encode())
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, tensor in state.items():
        digest.update(repr((name, tuple(tensor.shape), tensor.dtype)).encode())
    known = {id(tensor): name for name, tensor in state.items()}
    known.update({id(tensor): f"input {place}" for place, tensor in enumerate(leaves(inputs))})
    with modes_kept(model), torch.no_grad(), _Operations(digest, known):
        call(evaluating(model), inputs)
    return digest.hexdigest()


def weights_digest(model: nn.Module) -> str:
    """Digest of all parameters and buffers, as 16 hexadecimal digits."""
    return content_digest(item for pair in model.state_dict().items() for item in pair)


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Updates a digest with every operation: its name, its plain arguments, and where its tensors come from."""

    def __init__(self, digest: Any, known: Mapping[int, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._digest = digest
        self._origins = dict(known)
        self._alive: list[Tensor] = []  # an identity is only free for another tensor after its own is gone
        self._count = 0

    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None) -> Any:
        self._digest.update(repr((str(func), self._spelled(args), self._spelled(kwargs or {}))).encode())
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor) and id(tensor) not in self._origins:
                self._origins[id(tensor)] = f"operation {self._count}"
                self._alive.append(tensor)
        self._count += 1
        return result

    def _spelled(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return (self._origin(value), tuple(value.shape), str(value.dtype))
        if isinstance(value, Mapping):
            return {key: self._spelled(each) for key, each in value.items()}
        if isinstance(value, tuple | list):
            return [self._spelled(each) for each in value]
        return repr(value) if _is_literal(value) else str(type(value))

    def _origin(self, tensor: Tensor) -> str:
        if id(tensor) not in self._origins:
            self._origins[id(tensor)] = content_digest([tensor])
            self._alive.append(tensor)
        return self._origins[id(tensor)]


def _is_literal(value: Any) -> bool:
    return isinstance(value, _LITERALS) or (isinstance(value, tuple | list) and all(map(_is_literal, value)))
