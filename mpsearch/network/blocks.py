"""`blocks`: the pieces of a model that are put right one at a time, such as residual blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import nn

__all__ = ["blocks"]


def blocks(model: nn.Module, layers: Iterable[nn.Module]) -> list[nn.Module]:
    """The innermost modules with a forward of their own that hold two layers or more, and the layers outside of any, in module order.

    `nn.Sequential` and other containers are looked into, since they join what need not be joined; the model itself is no block.

    Args:
        model: searched by module tree.
        layers: modules with quantized weights.
    """
    wanted = set(layers)
    return list(_found(model, wanted, is_root=True))


def _found(module: nn.Module, wanted: set[nn.Module], *, is_root: bool = False) -> Iterator[nn.Module]:
    if module in wanted:
        yield module
        return
    inner = [block for child in module.children() for block in _found(child, wanted)]
    joins = not is_root and not isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
    if joins and len(inner) > 1 and all(block in wanted for block in inner):
        yield module
    else:
        yield from inner
