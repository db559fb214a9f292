"""`Execution`: how a network runs while it is trained; `mpsearch.training.dry_run` finds out what it can do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.core.layer import Layer

__all__ = ["Execution", "batch_within", "place_of_output", "samples_within"]

_LOGITS = "logits"
_LARGEST_BATCH = 256
_BYTES = 4 * 2**30
"""That a pass without gradients may take for activations. It depends on no machine, since sums over batches depend on the batch."""
_ALIVE = 2
"""Tensors of the size of a layer's input and output that are alive beside them, such as those of another branch."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a network runs while it is trained.

    Args:
        memory_format: of images and of weights with four axes; channels-last makes convolutions faster, with the same values.
        main_output: where the output that is trained stands in what the network returns in training mode, as keys and indices; empty if
            all of it is the output.
        batch: samples that pass at once where nothing is trained.
    """

    memory_format: torch.memory_format = torch.channels_last
    main_output: tuple[int | str, ...] = ()
    batch: int = _LARGEST_BATCH

    @property
    def channels_last(self) -> bool:
        """Whether images are in channels-last memory."""
        return self.memory_format == torch.channels_last

    def keep_main_output(self, model: nn.Module) -> None:
        """Let the network return only the output that is trained, in place; its copies do the same."""
        if self.main_output:
            model.register_forward_hook(_MainOutput(self.main_output))

    @property
    def said(self) -> tuple[str, ...]:
        """One sentence for each difference from what most networks do."""
        sentences = []
        if not self.channels_last:
            sentences.append(
                "trained in contiguous memory, since its forward pass fails in channels-last (view() where reshape() would do)"
            )
        if self.main_output:
            place = "".join(f"[{key!r}]" for key in self.main_output)
            sentences.append(f"of what it returns in training mode only {place} is trained, which is its output in evaluation mode")
        return tuple(sentences)


def batch_within(layers: Iterable[Layer]) -> int:
    """The largest power of two of samples, at most 256, whose activations at the largest layer take no more than 4 GiB.

    Logits of 2,048 tokens over 32,000 words are 262 MB a sample: four pass at once.
    """
    return samples_within(max((layer.input_elements + layer.output_elements for layer in layers), default=1))


def samples_within(elements: int) -> int:
    """The same, of so many elements a sample."""
    within = _BYTES // (4 * _ALIVE * max(elements, 1))
    return min(1 << max(within.bit_length() - 1, 0), _LARGEST_BATCH)


class _MainOutput:
    """A forward hook; a class, so that copies of the module can be pickled."""

    def __init__(self, place: Sequence[int | str]) -> None:
        self._place = place

    def __call__(self, module: nn.Module, args: tuple[Any, ...], returned: Any) -> Any:
        if module.training:
            for key in self._place:
                returned = returned[key] if isinstance(key, int) or isinstance(returned, Mapping) else getattr(returned, key)
        return returned


def place_of_output(returned: Any, output: Tensor) -> tuple[int | str, ...] | None:
    """Where a floating-point tensor of the output's shape stands in what a network returned; `logits` first, then the first.

    Returns:
        Keys and indices, empty for a tensor alone; None if there is none.
    """
    places = [
        place
        for place, value in _tensors(returned)
        if isinstance(value, Tensor) and value.is_floating_point() and value.shape == output.shape
    ]
    return min(places, key=lambda place: _LOGITS not in place, default=None)


def _tensors(value: Any, place: tuple[int | str, ...] = ()) -> Iterator[tuple[tuple[int | str, ...], Any]]:
    items: Iterator[tuple[Any, Any]]
    if isinstance(value, Mapping):
        items = iter(value.items())
    elif isinstance(value, tuple | list):
        items = iter(enumerate(value))
    elif dataclasses.is_dataclass(value):
        items = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    else:
        yield place, value
        return
    for key, item in items:
        yield from _tensors(item, (*place, key))
