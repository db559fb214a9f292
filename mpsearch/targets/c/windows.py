"""`Window`: what slides over one axis: kernel, stride, padding, dilation; for convolutions and poolings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mpsearch.targets.c.walk import Node

__all__ = ["Window", "windows_of"]


@dataclass(frozen=True, kw_only=True)
class Window:
    """One axis of a sliding window; sizes in elements.

    Args:
        size: of the input.
        kernel: of the window.
        stride: of the window.
        before: padding before the input.
        after: padding behind it.
        dilation: distance between the elements that the window reads.
    """

    size: int
    kernel: int
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1

    @property
    def span(self) -> int:
        """Elements that the window covers."""
        return (self.kernel - 1) * self.dilation + 1

    def slides(self, node: Node, *, ceil: bool = False) -> int:
        """Positions of the window; rounded up, the last begins within the input or the padding before it.

        Raises:
            ModelError: the window is larger than the padded input.
        """
        room = self.size + self.before + self.after - self.span
        if room < 0:
            raise node.refused(f"its window of {self.span} is larger than its padded input of {room + self.span}")
        count = room // self.stride + 1
        if ceil and room % self.stride and count * self.stride < self.size + self.before:
            count += 1
        return count


def windows_of(node: Node, sizes: Sequence[int], kernel: Sequence[int]) -> list[Window]:
    """The windows of a node, one for each axis.

    Raises:
        ModelError: three axes or more, or padding that depends on the input.
    """
    axes = len(sizes)
    if axes not in (1, 2):
        raise node.refused(f"it slides along {axes} axes, where 1 or 2 are possible")
    if node.attribute("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise node.refused("its padding depends on the input")
    pads = node.attribute("pads", [0] * 2 * axes)
    strides, dilations = node.attribute("strides", [1] * axes), node.attribute("dilations", [1] * axes)
    return [
        Window(
            size=sizes[axis],
            kernel=int(kernel[axis]),
            stride=int(strides[axis]),
            before=int(pads[axis]),
            after=int(pads[axes + axis]),
            dilation=int(dilations[axis]),
        )
        for axis in range(axes)
    ]
