"""A residual network cut where its tie groups end: each `Stage` is a network of its own, and one after the other they are the whole."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mpsearch.core.space import ResolvedSpace
from mpsearch.models.resnet_cifar import CifarResNet

__all__ = ["Stage", "cut", "stage_space"]

_STEM, _HEAD = ("conv1", "bn1"), ("fc",)


class Stage(nn.Module):
    """Consecutive parts of a `CifarResNet` under the names they have there, so that the network's layers name the stage's modules.

    Args:
        model: whole network; the stage shares its modules.
        stem: whether it begins with the first convolution.
        blocks: dotted paths of its residual blocks.
        head: whether it ends with pooling and the linear layer.
    """

    def __init__(self, model: CifarResNet, *, stem: bool, blocks: tuple[str, ...], head: bool) -> None:
        super().__init__()
        self.stem, self.blocks, self.head = stem, blocks, head
        for path in (*(_STEM if stem else ()), *blocks, *(_HEAD if head else ())):
            parent, _, name = path.rpartition(".")
            if parent and not hasattr(self, parent):
                self.add_module(parent, nn.Module())
            self.get_submodule(parent).add_module(name, model.get_submodule(path))

    def forward(self, x: Tensor) -> Tensor:
        """Images or the output of the stage before → features, or logits."""
        if self.stem:
            x = F.relu(self.get_submodule("bn1")(self.get_submodule("conv1")(x)))
        for path in self.blocks:
            x = self.get_submodule(path)(x)
        if self.head:
            x = self.get_submodule("fc")(x.mean((2, 3)))
        return x


def cut(model: CifarResNet, space: ResolvedSpace) -> list[Stage]:
    """One stage a tie group.

    Raises:
        ValueError: groups that are no runs of whole blocks in forward order.
    """
    stages = {"layer1": model.layer1, "layer2": model.layer2, "layer3": model.layer3}
    blocks = [f"{name}.{index}" for name, stage in stages.items() for index in range(len(stage))]
    pieces = [_STEM[0], *blocks, _HEAD[0]]
    owner: dict[str, int] = {}
    for number, group in enumerate(space.groups):
        for index in group:
            piece = next(piece for piece in pieces if f"{space.names[index]}.".startswith(f"{piece}."))
            if owner.setdefault(piece, number) != number:
                raise ValueError(f"'{piece}' belongs to two groups; tie all its layers")
    order = [owner[piece] for piece in pieces]
    if order != sorted(order):
        raise ValueError("groups must be runs of blocks in forward order")
    return [
        Stage(
            model,
            stem=owner[pieces[0]] == number,
            blocks=tuple(block for block in blocks if owner[block] == number),
            head=owner[pieces[-1]] == number,
        )
        for number in range(len(space.groups))
    ]


def stage_space(space: ResolvedSpace, group: int) -> ResolvedSpace:
    """The space of one group's layers alone."""
    members = space.groups[group]
    return ResolvedSpace(
        layers=tuple(space.layers[index] for index in members),
        menus=tuple(space.menus[index] for index in members),
        groups=(tuple(range(len(members))),),
    )
