"""`blocks`: the parts of a model that are reconstructed one at a time, such as residual blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import nn

__all__ = ["blocks"]


def blocks(model: nn.Module, layers: Iterable[nn.Module]) -> list[nn.Module]:
    """The innermost modules with their own forward and at least two layers, and the layers outside of them, in module order.

    Containers such as `nn.Sequential` are searched but are no blocks; neither is the model itself.

    Args:
        model: searched by module tree.
        layers: modules with quantized weights.
    """
    quantized = set(layers)
    return list(_found(model, quantized, is_root=True))


def _found(module: nn.Module, quantized: set[nn.Module], *, is_root: bool = False) -> Iterator[nn.Module]:
    if module in quantized:
        yield module
        return
    inner = [block for child in module.children() for block in _found(child, quantized)]
    joins = not is_root and not isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
    if joins and len(inner) > 1 and all(block in quantized for block in inner):
        yield module
    else:
        yield from inner
