"""`load_batches`: one pass over a loader with its own random state; each batch is checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from mpsearch.core.errors import DataError
from mpsearch.core.nested import leaves, mapped
from mpsearch.data.random_stream import RandomStream
from mpsearch.data.split import InputsAndTargets, pair

__all__ = ["load_batches"]


def load_batches(loader: Iterable[Any], seed: int) -> Iterator[InputsAndTargets]:
    """One pass; sampler and transforms draw from a random state seeded by `seed`, the caller's is left alone.

    Raises:
        DataError: a batch is not (inputs, targets), targets are not a tensor, or an item cannot be loaded.
    """
    stream = RandomStream(seed)
    try:
        with stream.active():
            batches = iter(loader)
        while True:
            with stream.active():
                batch = next(batches, None)
            if batch is None:
                return
            yield _checked(batch)
    except DataError as error:
        raise DataError(_one_line(error)) from error


def _checked(batch: object) -> InputsAndTargets:
    inputs, targets = pair(batch)
    if not isinstance(targets, Tensor):
        raise DataError(
            f"targets must come out of the loader as a tensor, not {type(targets).__name__}; let each target be a number or a tensor"
        )
    return _without_gradients(inputs), _without_gradients(targets)


def _without_gradients(values: Any) -> Any:
    """Data of their own: some carry the graph that made them, which the first backward pass would free."""
    if not any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in leaves(values)):
        return values
    return mapped(values, lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf)


def _one_line(error: DataError) -> str:
    """The message alone; an error from a worker process carries its whole traceback."""
    return str(error).strip().rpartition("\n")[2].removeprefix(f"{DataError.__module__}.{DataError.__qualname__}: ")
